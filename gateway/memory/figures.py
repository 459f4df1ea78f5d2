"""The memory that a process has, and the settings of the C library that affect it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

_M_ARENA_MAX: Final = -8
"""From glibc's ``malloc.h``; see mallopt(3)."""


def resident(pid: int | str = "self") -> int:
    """Return the memory of a process in bytes (RSS, see proc(5)); 0 if the system does not tell."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def share_one_arena() -> None:
    """Make the C library take the memory for all threads from one arena.

    glibc gives each of the first threads an arena of its own. That helps programs whose threads
    allocate at the same moment. Threads of Python allocate one after the other, under the GIL. But
    each load has a thread of its own, and free memory between the objects of one generation can be
    used only by a load that happens to get the same arena. With Wagtail, a process varied between
    234 and 281 MB from reload to reload, and between 225 and 238 MB with one arena.

    The call works as long as only a few threads have been started. It changes nothing if the
    operator has made a choice with ``MALLOC_ARENA_MAX`` or ``GLIBC_TUNABLES``.
    """
    chosen = os.environ.get("GLIBC_TUNABLES", "")
    if "MALLOC_ARENA_MAX" not in os.environ and "glibc.malloc.arena_max" not in chosen:
        _call("mallopt", _M_ARENA_MAX, 1)


def give_back() -> None:
    """Give free memory back to the system. By itself, glibc keeps what lies between used blocks."""
    _call("malloc_trim", 0)


def _call(name: str, *args: int) -> None:
    """Call a function that only glibc has; with another C library, such as musl, do nothing."""
    if (function := getattr(ctypes.CDLL(None), name, None)) is not None:
        function(*args)
