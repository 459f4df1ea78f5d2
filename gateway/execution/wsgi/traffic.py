"""What the bridges of all sites share on one event loop."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Self

from gateway.execution.governor import Governor
from gateway.execution.loop_queue import LoopQueue
from gateway.execution.pool import Pool
from gateway.execution.wsgi.body import Intake

logger = logging.getLogger("gateway.wsgi")

_REST: Final = 0.005
"""Seconds at most that the event loop rests: what Python's switch interval may cost it anyway."""
_PASSES: Final = 3
"""Passes of the loop between two rests: responses go out, requests come in and are submitted."""


class Traffic:
    """Made on the event loop; ``with`` it. ``threads`` is how many all sites together may have.

    ``intake`` takes in their bodies.
    """

    def __init__(self, threads: int, intake: Intake | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.governor = Governor(threads)
        self.pool = Pool(threads)
        self.loop_queue = LoopQueue(self.loop)
        self.intake = intake or Intake()
        self._timer: asyncio.TimerHandle | None = None
        self._quiet = True
        self._passes = 0
        self._passing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.close()

    def watch(self) -> None:
        """Have the governor look at what runs, from now on until nothing does."""
        self._quiet = False
        if not self._passing and self._may_rest():
            self._passing = True
            self.loop.call_soon(self._pass)
        if self._timer is None:
            self._timer = self.loop.call_later(0.002, self._tick)

    def was_quiet(self) -> bool:
        """Whether no request has run since the last call of this."""
        quiet, self._quiet = self._quiet and self._timer is None, True
        return quiet

    def _tick(self) -> None:
        pause: float | None = 0.01
        try:
            pause = self.governor.tick()
        except Exception:
            logger.exception("the governor could not look at the requests that run")
        # Whatever happened: never disarmed while requests run.
        self._timer = None if pause is None else self.loop.call_later(pause, self._tick)

    def _pass(self) -> None:
        """Once in each pass of the loop while there is a crowd: every so often, it rests."""
        self._passes = (self._passes + 1) % _PASSES
        if not self._passes:
            self._passing = self._may_rest()
            if not self._passing:
                return
            self.loop_queue.rest(_REST, self._may_rest)
        self.loop.call_soon(self._pass)

    def _may_rest(self) -> bool:
        return self.governor.crowded and not self.intake.receives
