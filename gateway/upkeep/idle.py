"""Sites that nobody uses are unloaded, and load again with their next request.

There are two reasons for an unload.

*Idle*: the site had no request for its ``idle_timeout``.

*Memory*: the process is about to exceed its budget. Three numbers are added for that: the memory
that it has, the need of the sites that wait to be loaded, and the growth that is expected before
any memory is given back, at the recent rate. The sites that were used least recently go, as many
as the excess requires. Their memory stays until a garbage collection has run, so one is requested,
amid requests if necessary. No further site goes before it has ended, because until then nobody
knows how much memory is free. A site that was used a moment ago always stays; otherwise two sites
would push each other out with every request. The log says so if no site can go.

A site also stays while a request is in flight or waits at its gate. After a failed reload it stays,
too, because the code that serves is no longer the code on the disk.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import Final, Self

from gateway.memory.budget import Budget
from gateway.sites.events import IDLENESS, THE_BUDGET, Cause
from gateway.sites.registry import Registry
from gateway.sites.site import Site

logger = logging.getLogger("gateway.idle")

INTERVAL: Final = 1.0
"""Seconds between two checks."""
SETTLED: Final = 5.0
"""Seconds without a request after which a site may be unloaded for its memory."""
AHEAD: Final = 5.0
"""The least number of seconds from an unload until its memory is given back."""
_FADING: Final = 0.9
"""The expected rate of growth shrinks by this factor with each check, until memory grows faster."""


class IdleSites:
    """Unloads idle sites of a registry, while inside ``async with``.

    ``reclaim`` gives the memory of unloaded sites back to the system. ``interval`` is the time
    between two checks, in seconds.
    """

    def __init__(
        self,
        registry: Registry,
        budget: Budget,
        reclaim: Callable[[], Awaitable[None]],
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._budget = budget
        self._reclaim = reclaim
        self._interval = interval
        self._clock = clock
        self._told = False
        self._before = budget.memory()
        self._growth = 0.0
        self._ahead = AHEAD
        self._reclaiming: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="unload idle sites")
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = {self._task, *({self._reclaiming} if self._reclaiming else ())}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                self.check()
            except Exception:
                logger.exception("looking for idle sites failed; it goes on in a moment")

    def check(self) -> None:
        """Unload the sites that may go now."""
        now = self._clock()
        idle = sorted(
            (
                (now - since, site)
                for site in self._registry.loaded()
                if (since := site.idle_since) is not None
            ),
            key=itemgetter(0),
            reverse=True,
        )
        for seconds, site in idle:
            timeout = site.config.limits.idle_timeout
            if timeout and seconds >= timeout:
                self._unload(site, IDLENESS)
        if self._budget.limit:
            self._keep_the_budget([site for seconds, site in idle if seconds >= SETTLED])

    def _keep_the_budget(self, settled: list[Site]) -> None:
        memory, each = self._budget.memory(), self._budget.learn(len(self._registry.loaded()))
        grown, self._before = (memory - self._before) / self._interval, memory
        self._growth = max(grown, self._growth * _FADING)
        if self._reclaiming is not None:
            return
        excess = self._budget.excess + self._growth * self._ahead
        if excess <= 0:
            self._told = False
            return
        unloads = [self._unload(site, THE_BUDGET) for site in settled[: math.ceil(excess / each)]]
        if leaving := {unload for unload in unloads if unload is not None}:
            self._reclaiming = asyncio.create_task(self._give_back(leaving), name="give back")
        elif memory > self._budget.limit and not self._told:
            self._told = True
            logger.warning(
                "the process has %d MB, and %d as its budget: all sites that are loaded are in use",
                memory >> 20,
                self._budget.limit >> 20,
            )

    async def _give_back(self, leaving: set[asyncio.Task[None]]) -> None:
        began = self._clock()
        try:
            await asyncio.wait(leaving, timeout=AHEAD)
            await self._reclaim()
        finally:
            self._ahead = max(AHEAD, self._clock() - began)
            self._reclaiming = None

    def _unload(self, site: Site, cause: Cause) -> asyncio.Task[None] | None:
        generation = site.status().generation
        unload = site.unload_if_idle(cause)
        if unload is not None:
            logger.info(
                "%s: generation %d was unloaded (%s)", site.config.name, generation, cause.asker
            )
        return unload
