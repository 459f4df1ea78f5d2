"""What C code keeps for each thread under a name, where two versions of a package use the same.

lxml is the one that is known: it puts the log of errors and the dictionary of names of a thread
into what ``PyThreadState_GetDict`` gives, and a version that finds those of another there raises
``TypeError`` ("Cannot convert lxml.etree._RotatingErrorLog …"). As soon as there are two versions,
a thread that works for several sites has to exchange these things whenever it turns to another.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from types import ModuleType
from typing import Any

_PACKAGE = "lxml."

divided = False
"""Whether threads have to exchange anything at all."""
_versions: set[ModuleType] = set()


def divide_lxml(modules: Mapping[str, ModuleType]) -> None:
    """A unit with lxml has been loaded; units stay until the process ends."""
    global divided
    if (etree := modules.get("lxml.etree")) is not None:
        _versions.add(etree)
        divided = len(_versions) > 1


def take() -> dict[str, Any]:
    """Take from the calling thread what is concerned; for `put`."""
    state = _state()
    taken = {
        name: value
        for name, value in list(state.items())
        if str(type(value).__module__).startswith(_PACKAGE)
    }
    for name in taken:
        del state[name]
    return taken


def put(taken: Mapping[str, Any]) -> None:
    """Give the calling thread what has been taken from it."""
    _state().update(taken)


def _state() -> dict[str, Any]:
    get = ctypes.pythonapi.PyThreadState_GetDict
    get.restype = ctypes.c_void_p  # a borrowed reference, which py_object would take for its own
    state: dict[str, Any] = ctypes.cast(get(), ctypes.py_object).value
    return state
