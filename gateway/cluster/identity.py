"""Tell processes apart. Process ids are not enough: they are reused, and differ by container."""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from gateway.cluster.store import Worker

SILENT: Final = 15.0
"""Seconds without a report after which nobody waits for a worker, even if its process exists."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of this process; the fields are those of `Worker`."""

    id: str
    pid: int
    place: str
    born: str

    @classmethod
    def mine(cls) -> Self:
        """Return the identity of the calling process, with a new ``id`` at each call."""
        pid = os.getpid()
        return cls(f"{pid}-{secrets.token_hex(2)}", pid, _place(), _born(pid) or "")

    def can_reach(self, worker: Worker) -> bool:
        """Tell whether a worker can be expected to carry out an order."""
        if worker.ended or time.time() - worker.seen > SILENT:
            return False
        # A process in another place cannot be looked at, so only its own report counts.
        return worker.place != self.place or _born(worker.pid) == worker.born

    def lives(self, worker: Worker) -> bool:
        """Tell whether the process of a worker is seen to be there, and has not said its end."""
        return not worker.ended and self.is_gone(worker) is False

    def is_gone(self, worker: Worker) -> bool | None:
        """Tell whether the process of a worker has ended; ``None`` if it is not visible here."""
        return _born(worker.pid) != worker.born if worker.place == self.place else None


def seconds_of_life() -> float | None:
    """Return the seconds since this process started; ``None`` if the system does not tell."""
    born = _born(os.getpid())
    if not born or not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(born) / ticks


def _place() -> str:
    """Return the name of the machine, and of the process table in which this process is."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()} {space}".strip()


def _born(pid: int) -> str | None:
    """Return the start of a process in clock ticks since the boot, see proc(5).

    Returns ``None`` if the process has ended, even if its parent has not asked for the exit status.
    Returns an empty text if there is no ``/proc``; then only the existence of the process counts.
    """
    try:
        # The name in parentheses may contain spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""
