"""What the system tells of a thread: the CPU time that it has used, and whether it wants more.

A thread whose CPU clock stands still is blocked, or it waits for a processor that other processes
have, or that the limit of a container keeps from it. Linux tells these apart: the state of what
waits for a processor is ``R`` (proc_pid_stat(5)).
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from typing import Final, Protocol

_STATE: Final = b") "
"""What comes before the state in ``/proc/self/task/TID/stat``; the name before may have it, too."""
_ENOUGH: Final = 128
"""Bytes of that file that are read: a number, a name of up to 16 bytes, and the state."""


class Clocks(Protocol):
    """The clocks that the governor reads."""

    def now(self) -> float:
        """Return the monotonic time in seconds."""

    def own(self) -> tuple[int, int]:
        """Return the id of the calling thread for `cpu` (0 if there is none) and its CPU in ns."""

    def cpu(self, clock: int) -> int:
        """Return the CPU of another thread in ns; raises ``OSError`` if the thread has ended."""

    def wants_processor(self, clock: int) -> bool:
        """Tell whether another thread runs or waits for a processor; false if that is unknown."""


class SystemClocks:
    """The clocks of the system."""

    now = staticmethod(time.monotonic)

    if sys.platform == "linux":

        def __init__(self) -> None:
            # Calls by `ctypes.PyDLL` keep the GIL. With Python's own ``open`` and ``read`` each
            # look would have to get it back three times, from whoever computes.
            libc = ctypes.PyDLL(None)
            self._open, self._read, self._close = libc.open, libc.read, libc.close
            self._read.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
            self._read.restype = ctypes.c_ssize_t
            self._buffer = ctypes.create_string_buffer(_ENOUGH)

        def own(self) -> tuple[int, int]:
            """Return the id of the calling thread for `cpu`, and its CPU in ns."""
            return time.pthread_getcpuclockid(threading.get_ident()), time.thread_time_ns()

        cpu = staticmethod(time.clock_gettime_ns)

        def wants_processor(self, clock: int) -> bool:
            """Tell whether another thread runs or waits for a processor. Takes some 5 µs.

            Call it with a lock: all calls share a buffer.
            """
            # The kernel makes the id of a thread's clock of the inverted number of the thread
            # (MAKE_THREAD_CPUCLOCK in include/linux/posix-timers_types.h).
            path = b"/proc/self/task/%d/stat" % ~(clock >> 3)
            descriptor = self._open(path, os.O_RDONLY | os.O_CLOEXEC)
            if descriptor < 0:
                return False
            length = self._read(descriptor, self._buffer, _ENOUGH)
            self._close(descriptor)
            if length <= 0:
                return False
            return self._buffer.raw[:length].rpartition(_STATE)[2][:1] == b"R"

    else:

        def own(self) -> tuple[int, int]:
            """Return no id, and the CPU of the calling thread in ns."""
            return 0, time.thread_time_ns()

        def cpu(self, clock: int) -> int:
            """Raise ``OSError``: nothing can be read."""
            raise OSError("this system has no CPU clocks of other threads")

        def wants_processor(self, clock: int) -> bool:
            """Return false: this system does not tell."""
            return False
