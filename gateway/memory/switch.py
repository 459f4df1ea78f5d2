"""The switch of the garbage collector. A process has only one."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_holders = 0
_was_enabled = False
_aging = False


@contextlib.contextmanager
def held(*, staying: bool = False) -> Iterator[None]:
    """Start no automatic collection during the block; blocks may overlap in several threads.

    With ``staying``, objects that are made during the block count as old afterwards. Without it,
    the next collection of young objects comes at once and looks at all of them. After the load of
    a site that stops every thread for 0.1 to 0.3 s and finds nearly nothing to free.
    """
    global _holders, _was_enabled, _aging
    with _lock:
        if _holders == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _holders += 1
        _aging = _aging or staying
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0:
                if _aging:
                    # Both calls only link lists: freeze() moves all objects to the permanent
                    # generation, unfreeze() moves them from there to the oldest one.
                    gc.freeze()
                    gc.unfreeze()
                    _aging = False
                if _was_enabled:
                    gc.enable()
