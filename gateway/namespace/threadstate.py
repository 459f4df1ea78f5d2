"""Objects that C code keeps for each thread in the dictionary of ``PyThreadState_GetDict``.

Two versions of a package may use the same key there. As soon as both are loaded, a thread that
works for several sites has to exchange these objects whenever it turns to another site.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

divided = False
"""True as soon as threads have to exchange anything at all."""
_packages: tuple[str, ...] = ()


def exchange(package: str) -> None:
    """Let threads exchange the objects of a package, from now on until the process ends.

    ``package`` is how the names of the modules begin that define their classes (``name.``).
    """
    global divided, _packages
    if package not in _packages:
        _packages += (package,)
    divided = True


def take() -> dict[str, Any]:
    """Take the objects that threads exchange from the calling thread; `put` gives them back."""
    state = _state()
    taken = {
        name: value
        for name, value in list(state.items())
        if str(type(value).__module__).startswith(_packages)
    }
    for name in taken:
        del state[name]
    return taken


def put(taken: Mapping[str, Any]) -> None:
    """Give the calling thread what `take` took from it."""
    _state().update(taken)


def _state() -> dict[str, Any]:
    get = ctypes.pythonapi.PyThreadState_GetDict
    get.restype = ctypes.c_void_p  # a borrowed reference, which py_object would take for its own
    state: dict[str, Any] = ctypes.cast(get(), ctypes.py_object).value
    return state
