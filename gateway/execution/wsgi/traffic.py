"""The parts that the bridges of all sites share on one event loop."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Self
from weakref import WeakValueDictionary

from gateway.execution.audit import Audit
from gateway.execution.governor import Governor, Share
from gateway.execution.hangs import Hangs
from gateway.execution.loop_queue import LoopQueue
from gateway.execution.pool import Pool
from gateway.execution.wsgi.body import Intake
from gateway.front.stalls import stalls_of

logger = logging.getLogger("gateway.wsgi")

_REST: Final = 0.005
"""The longest rest of the event loop, in seconds: as long as it may wait for the GIL anyway."""
_PASSES: Final = 3
"""Passes of the loop between two rests: it sends responses, reads requests and submits them."""


class Traffic:
    """A context manager, made on the event loop, that owns the shared parts.

    ``threads`` is the number of threads that all sites together may have. ``intake`` takes in the
    bodies of all requests.
    """

    def __init__(self, threads: int, intake: Intake | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.governor = Governor(threads)
        self.pool = Pool(threads)
        self.loop_queue = LoopQueue(self.loop)
        self.intake = intake or Intake()
        self.stalls = stalls_of(self.loop)
        self.hangs = Hangs(self.loop, self.governor, self.pool)
        self.audit = Audit(self.governor, self.pool, self.loop.time)
        self._shares: WeakValueDictionary[str, Share] = WeakValueDictionary()
        self._timer: asyncio.TimerHandle | None = None
        self._quiet = True
        self._passes = 0
        self._passing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.close()
        self.governor.close()

    def share(self, site: str) -> Share:
        """Return what the generations of a site have in common, while there are any."""
        return self._shares.setdefault(site, Share())

    def watch(self) -> None:
        """Have the governor look at the running requests, from now on until none runs."""
        self._quiet = False
        if not self._passing and self._may_rest():
            self._passing = True
            self.loop.call_soon(self._pass)
        if self._timer is None:
            self._timer = self.loop.call_later(0.002, self._tick)

    def was_quiet(self) -> bool:
        """Tell whether no request has run since the last call of this method."""
        quiet, self._quiet = self._quiet and self._timer is None, True
        return quiet

    def _tick(self) -> None:
        pause: float | None = 0.01
        try:
            pause = self.governor.tick()
        except Exception:
            logger.exception("the governor could not look at the requests that run")
        # After an error, too: the timer stays armed while requests run.
        self._timer = None
        if pause is not None:
            self._timer = self.loop.call_later(pause, self._tick)
            self.hangs.watch()

    def _pass(self) -> None:
        """Run once in each pass of the loop while there is a crowd; rest in one of `_PASSES`."""
        self._passes = (self._passes + 1) % _PASSES
        if not self._passes:
            self._passing = self._may_rest()
            if not self._passing:
                return
            self.loop_queue.rest(_REST, self._may_rest)
        self.loop.call_soon(self._pass)

    def _may_rest(self) -> bool:
        return self.governor.crowded and not self.intake.receives
