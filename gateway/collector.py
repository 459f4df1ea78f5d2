"""The garbage collector of the process, held while a site loads.

A load creates tens of thousands of objects that stay, and each of them that survives makes the
collector look at all the others again: holding it halves the time of a load.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_holders = 0
_was_enabled = False


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Start no automatic collection during the block; blocks may overlap in several threads."""
    global _holders, _was_enabled
    with _lock:
        if _holders == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0 and _was_enabled:
                gc.enable()
