"""What C code keeps for each thread under a name, where two versions of a package use the same.

The place is the dictionary that ``PyThreadState_GetDict`` gives. As soon as two versions of such a
package are loaded, a thread that works for several sites has to exchange these objects whenever it
turns to another site.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

divided = False
"""Whether threads have to exchange anything at all."""
_packages: tuple[str, ...] = ()


def exchange(package: str) -> None:
    """Have threads exchange objects whose classes come from modules below ``package`` (``name.``).

    From now on until the process ends.
    """
    global divided, _packages
    if package not in _packages:
        _packages += (package,)
    divided = True


def take() -> dict[str, Any]:
    """Take from the calling thread what is concerned; for `put`."""
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
    """Give the calling thread what has been taken from it."""
    _state().update(taken)


def _state() -> dict[str, Any]:
    get = ctypes.pythonapi.PyThreadState_GetDict
    get.restype = ctypes.c_void_p  # a borrowed reference, which py_object would take for its own
    state: dict[str, Any] = ctypes.cast(get(), ctypes.py_object).value
    return state
