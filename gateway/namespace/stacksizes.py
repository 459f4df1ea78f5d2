"""The size of the stacks of new threads (``threading.stack_size``), which each site has for itself.

The process has one size, which counts for whoever starts a thread next. It is set for the moment of
each start of a thread by a site that has asked for a size, with a lock that every start takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

SMALLEST: Final = 8 << 20
"""Bytes that each such thread gets at least. On a smaller stack, C code that calls itself (for
example ``json``) can end the process long before Python's own limits."""

_lock = threading.Lock()
_stack_size: Final = threading.stack_size  # that of the process: a hook takes its place


def check(size: int) -> None:
    """Raise what Python raises for a size that it does not take."""
    with _lock:
        before = _stack_size()
        try:
            _stack_size(size)
        finally:
            _stack_size(before)


def start(size: int, start: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Start a thread with ``size`` bytes; 0 means the size of the process."""
    with _lock:
        if not size:
            return start(*args, **kwargs)
        before = _stack_size()
        try:
            _stack_size(max(size, SMALLEST))
            return start(*args, **kwargs)
        finally:
            _stack_size(before)


def after_fork_in_child() -> None:
    """Let the lock go that another thread may have held when this process was forked."""
    global _lock
    _lock = threading.Lock()
