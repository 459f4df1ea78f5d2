"""The garbage collector of the process: when it may look at everything.

A full collection looks at every object that lives and stops all threads meanwhile: with 30 sites
half a second and more, in which nobody is answered. Python starts one when enough new objects
have outlived two smaller collections, which is in the middle of requests. What it frees is seldom
more than can wait.

**While the gateway serves** (`Collector`) Python starts none by itself. The small collections go on
and free nearly all garbage that is circular. A full one becomes *due* when Python's own count says
so, or when somebody asks for it, who has unloaded a site. It is run in the first second in which no
request runs, however many wished for it meanwhile, and so seldom that collections take no more than
one part in a hundred of the time, or one in twenty where somebody asked: the more has gathered, the
longer everything stands still. If there is no such second for `Pace.latest` seconds, Python's own
rule holds again until the next one: garbage is bounded also in a gateway that is never idle. Who
needs the memory of a site at once, or sees that unloaded ones pile up (`Collector.hurry`), has the
next one run amid requests, and they may then take one part in five.

**While a site loads** there is none at all (``garbage.py``), not even a small one. A load creates
tens of thousands of objects that stay, and each of them that survives makes the collector look at
all the others again: holding it halves the time of a load.

Each full collection, whoever started it, is noted with its pause (`Collector.last`), and logged if
that is long.
``gc.freeze`` would shorten them, but what it freezes could never be freed one site at a time.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from gateway.memory import figures

logger = logging.getLogger(__name__)

_NEVER: Final = 1 << 30
_OLDEST: Final = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """How often full collections run. Rests are multiples of the pause of the last collection."""

    look: float = 1.0
    """Seconds that have to pass without a request."""
    latest: float = 300.0
    """Seconds that a collection that is due waits for an idle moment before Python's rule holds."""
    rest: float = 100
    """What has to pass between two collections."""
    asked_rest: float = 19
    """The same where somebody has asked for the next one."""
    hurried_rest: float = 4
    """The same where somebody is in a hurry."""
    long: float = 0.1
    """Seconds of a pause that is worth a line in the log."""


PACE: Final = Pace()


@dataclass(frozen=True, slots=True)
class Pause:
    """A full collection: when it ended (monotonic) and how long it took, in seconds."""

    end: float
    seconds: float
    freed: int
    idle: bool
    """Whether it was ours, in an idle moment."""


class Collector:
    """Full collections in idle moments only; ``with`` it, on the event loop.

    ``was_quiet`` tells whether no request has run since it was called last; it is called every
    `Pace.look` seconds.
    """

    def __init__(self, was_quiet: Callable[[], bool], pace: Pace = PACE) -> None:
        self.pauses = 0
        """Full collections so far."""
        self.last: Pause | None = None
        self._was_quiet = was_quiet
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._thresholds = gc.get_threshold()
        self._due_since: float | None = None
        self._begun = 0
        self._hurry = self._idle = False
        self._later: deque[tuple[int, Callable[[], object]]] = deque()
        self._thread: threading.Thread | None = None
        self._started = 0.0
        self._told = 0

    def __enter__(self) -> Self:
        self._hold()
        gc.callbacks.append(self._note)
        self._timer = self._loop.call_later(self._pace.look, self._tick)
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        gc.callbacks.remove(self._note)
        gc.set_threshold(*self._thresholds)

    def then(self, function: Callable[[], object]) -> None:
        """Call ``function`` on a thread of its own, after a full collection that is yet to begin.

        There is garbage of some size, which that one gives back to the system.
        """
        self._later.append((self._begun, function))

    def hurry(self) -> None:
        """Do not wait for an idle moment with the collection that somebody asked for."""
        self._hurry = True

    def _call_later(self) -> None:
        due = []
        # Collections do not overlap: as many have ended as have begun, but for one at most.
        while self._later and self._later[0][0] < self.pauses:
            due.append(self._later.popleft()[1])
        if due:
            threading.Thread(
                target=_call, args=(due,), name="gateway after collection", daemon=True
            ).start()

    def _hold(self) -> None:
        gc.set_threshold(*self._thresholds[:_OLDEST], _NEVER)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._pace.look, self._tick)
        self._tell()
        if self._thread is None or not self._thread.is_alive():
            self._call_later()
        now, quiet = time.monotonic(), self._was_quiet()
        if not (self._later or gc.get_count()[_OLDEST] > self._thresholds[_OLDEST]):
            self._due_since = None
            return
        if self._due_since is None:
            self._due_since = now
        if (quiet or self._hurry) and self._may(now):
            self._hurry, self._idle = False, quiet
            # Finalizers of sites are code of sites, which has no business on the event loop.
            self._thread = threading.Thread(
                target=_collect,
                args=(bool(self._later),),
                name="gateway collector",
                daemon=True,
            )
            self._thread.start()
        elif now - self._due_since > self._pace.latest:
            gc.set_threshold(*self._thresholds)

    def _may(self, now: float) -> bool:
        if self._thread is not None and self._thread.is_alive():
            return False  # the finalizers of a site do not end
        if not (gc.isenabled() or self._hurry):
            return False  # a site loads
        if self.last is None:
            return True
        pace = self._pace
        rest = pace.hurried_rest if self._hurry else pace.asked_rest if self._later else pace.rest
        return now - self.last.end > rest * self.last.seconds

    def _note(self, phase: str, info: dict[str, int]) -> None:
        """One of ``gc.callbacks``: on whatever thread collects, in the middle of anything."""
        if info["generation"] != _OLDEST:
            return
        now = time.monotonic()
        if phase == "start":
            self._started = now
            self._begun += 1
            return
        idle = self._idle and threading.current_thread() is self._thread
        self.last = Pause(now, now - self._started, info["collected"], idle)
        self.pauses += 1
        self._due_since = None
        self._hold()

    def _tell(self) -> None:
        if self.last is None or self._told == self.pauses:
            return
        self._told = self.pauses
        logger.log(
            logging.INFO if self.last.seconds >= self._pace.long else logging.DEBUG,
            "a full garbage collection %s took %.0f ms and freed %d objects",
            "in an idle moment" if self.last.idle else "amid requests",
            self.last.seconds * 1000,
            self.last.freed,
        )


def _call(functions: list[Callable[[], object]]) -> None:
    for function in functions:
        try:
            function()
        except Exception:
            logger.exception("what was to be done after a collection failed")


def _collect(trim: bool) -> None:
    gc.collect()
    if trim:
        figures.give_back()
