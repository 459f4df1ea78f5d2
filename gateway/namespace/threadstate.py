"""Objects that C code keeps for each thread under a name that two versions of a package share.

lxml is the only package known to do so. It puts the error log and the dictionary of names of a
thread into the dictionary that ``PyThreadState_GetDict`` returns. Another version that finds these
objects raises ``TypeError`` ("Cannot convert lxml.etree._RotatingErrorLog …"). As soon as two
versions are loaded, a thread that works for several sites has to exchange these objects whenever it
turns to another site.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from types import ModuleType
from typing import Any

_PACKAGE = "lxml."

divided = False
"""True when threads have to exchange objects, because two versions are loaded."""
_versions: set[ModuleType] = set()


def divide_lxml(modules: Mapping[str, ModuleType]) -> None:
    """Count the version of lxml among ``modules``, those of a unit. Units are never unloaded."""
    global divided
    if (etree := modules.get("lxml.etree")) is not None:
        _versions.add(etree)
        divided = len(_versions) > 1


def take() -> dict[str, Any]:
    """Remove lxml's objects from the calling thread, and return them for `put`."""
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
    """Give the calling thread the objects that `take` returned."""
    _state().update(taken)


def _state() -> dict[str, Any]:
    get = ctypes.pythonapi.PyThreadState_GetDict
    get.restype = ctypes.c_void_p  # a borrowed reference, which py_object would take for its own
    state: dict[str, Any] = ctypes.cast(get(), ctypes.py_object).value
    return state
