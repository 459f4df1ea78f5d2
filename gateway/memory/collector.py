"""The garbage collector of the process: when a full collection may run.

A full collection looks at every living object and stops all threads meanwhile. With 30 sites that
takes half a second and more, in which nobody gets an answer. By itself, Python starts a full
collection when enough new objects have survived two smaller ones, and so in the middle of requests.
Most of what it frees could have waited.

**While the gateway serves** (`Collector`), Python starts no full collection. The small ones go on
and free nearly all circular garbage. A full one becomes *due* when Python's own count says so, or
when somebody who has unloaded a site asks for it. It runs in the first second without a request,
once for all who have asked. Full collections take at most a hundredth of the time, or a twentieth
if somebody has asked, because each pause is longer the more garbage there is. If no second without
a request comes for `Pace.latest` seconds, Python's own rule holds again until the next full
collection. So garbage is bounded also in a gateway that is never idle. A caller that needs the
memory of a site at once, or sees many unloaded sites in memory, calls `Collector.hurry`. Then the
next collection runs amid requests, and collections may take a fifth of the time.

**While a site loads**, there is no collection at all, not even a small one (``switch.py``). A load
creates tens of thousands of objects that stay, and the collector would look at them again and
again. Without collections a load takes half of the time.

Each full collection is recorded with its pause (`Collector.last`), whoever started it. A long pause
is logged. ``gc.freeze`` would shorten the pauses, but the objects that it freezes could not be
freed for one site alone.
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
from typing import Final, Self, TypeVar

from gateway.memory import figures

_T = TypeVar("_T")

logger = logging.getLogger(__name__)

_NEVER: Final = 1 << 30
_OLDEST: Final = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """The limits to how often full collections run, and which of their pauses are logged.

    Each rest is the time between two collections, as a multiple of the pause of the first one.
    """

    look: float = 1.0
    """Seconds without a request that make an idle moment."""
    latest: float = 300.0
    """Seconds that a due collection waits for an idle moment. Then Python's own rule holds."""
    rest: float = 100
    """The rest if nobody has asked for the next collection."""
    asked_rest: float = 19
    """The rest if somebody has asked for it."""
    hurried_rest: float = 4
    """The rest if somebody is in a hurry."""
    long: float = 0.1
    """Seconds from which on a pause is logged at level INFO."""


PACE: Final = Pace()


@dataclass(frozen=True, slots=True)
class Pause:
    """A full collection: its ``end`` (`time.monotonic`), and how many ``seconds`` it took."""

    end: float
    seconds: float
    freed: int
    idle: bool
    """True if the gateway started it in an idle moment."""


class Collector:
    """Run full collections in idle moments only. Use it in a ``with`` block on the event loop.

    ``was_quiet`` is called every `Pace.look` seconds, and tells whether no request has run since
    its last call.
    """

    def __init__(self, was_quiet: Callable[[], bool], pace: Pace = PACE) -> None:
        self.pauses = 0
        """The number of full collections so far."""
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
        """Call ``function`` on another thread after the next full collection that begins.

        The caller has left much garbage: that collection also gives memory back to the system.
        """
        self._later.append((self._begun, function))

    def hurry(self) -> None:
        """Run the collection that somebody has asked for without waiting for an idle moment."""
        self._hurry = True

    def _call_later(self) -> None:
        # Collections do not overlap, so at most one has begun and not ended.
        due = [function for begun, function in tuple(self._later) if begun < self.pauses]
        if due and _start("gateway after collection", _call, due):
            for _ in due:
                self._later.popleft()

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
            self._idle = quiet
            # A collection runs finalizers, and code of sites must not run on the event loop.
            if thread := _start("gateway collector", _collect, bool(self._later)):
                self._hurry, self._thread = False, thread
        elif now - self._due_since > self._pace.latest:
            gc.set_threshold(*self._thresholds)

    def _may(self, now: float) -> bool:
        if self._thread is not None and self._thread.is_alive():
            return False  # the last collection still runs: a finalizer of a site does not end
        if not (gc.isenabled() or self._hurry):
            return False  # a site is loading
        if self.last is None:
            return True
        pace = self._pace
        rest = pace.hurried_rest if self._hurry else pace.asked_rest if self._later else pace.rest
        return now - self.last.end > rest * self.last.seconds

    def _note(self, phase: str, info: dict[str, int]) -> None:
        """Record a full collection. In ``gc.callbacks``: runs on any thread, at any moment."""
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


def _start(name: str, function: Callable[[_T], object], argument: _T) -> threading.Thread | None:
    """Call a function on a thread of its own; ``None`` if the system gives none now."""
    thread = threading.Thread(target=function, args=(argument,), name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):  # "can't start new thread"
        return None
    return thread


def _call(functions: list[Callable[[], object]]) -> None:
    for function in functions:
        try:
            function()
        except BaseException:  # it may look at objects of sites
            logger.exception("what was to be done after a collection failed")


def _collect(trim: bool) -> None:
    gc.collect()
    if trim:
        figures.give_back()
