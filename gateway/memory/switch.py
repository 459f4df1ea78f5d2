"""The switch of the garbage collector, which a process has one of."""

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

    With ``staying`` what is made meanwhile counts as old afterwards. Else the next collection of
    young objects, which comes at once, would look at all of it: with a site that has been loaded
    that stops every thread for 0.1 to 0.3 s, to find that nearly all of it stays.
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
                    # Both only link lists: all go to the permanent ones, and from there to the old.
                    gc.freeze()
                    gc.unfreeze()
                    _aging = False
                if _was_enabled:
                    gc.enable()
