"""Which process is which: ids are used again, and mean little in another container."""

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
"""Seconds without a word after which nobody waits for a worker, though its process exists."""


@dataclass(frozen=True, slots=True)
class Identity:
    """This process, as `Worker` names it."""

    id: str
    pid: int
    place: str
    born: str

    @classmethod
    def mine(cls) -> Self:
        """That of the calling process; two calls differ in ``id``."""
        pid = os.getpid()
        return cls(f"{pid}-{secrets.token_hex(2)}", pid, _place(), _born(pid) or "")

    def can_reach(self, worker: Worker) -> bool:
        """Whether a worker can be expected to carry something out."""
        if worker.ended or time.time() - worker.seen > SILENT:
            return False
        # Of processes that cannot be seen from here, only what they say of themselves counts.
        return worker.place != self.place or _born(worker.pid) == worker.born

    def is_gone(self, worker: Worker) -> bool | None:
        """Tell whether the process of a worker has ended; ``None`` if it is not visible here."""
        return _born(worker.pid) != worker.born if worker.place == self.place else None


def seconds_of_life() -> float | None:
    """How long this process has been running; ``None`` where the system does not tell."""
    born = _born(os.getpid())
    if not born or not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(born) / ticks


def _place() -> str:
    """The machine and the process table that process ids of this process belong to."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()} {space}".strip()


def _born(pid: int) -> str | None:
    """When a process started, in clock ticks since the boot: see proc(5).

    ``None`` if it has ended, also if nobody has asked for its exit status yet; empty where there is
    no ``/proc``, so that only its existence counts.
    """
    try:
        # The name in parentheses may itself hold spaces and parentheses.
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
