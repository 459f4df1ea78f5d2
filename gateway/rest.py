"""Sites that nobody uses are unloaded, and load again with their next request.

For two reasons: a site was not asked for anything for its ``idle_timeout``, or the process has more
memory than its budget. Then the site that was used least recently goes, one at each look, until the
process is within the budget: what one unloading has freed shows a moment later, once the garbage
has been collected. A site that has just been used stays in any case, so that two sites do not push
each other out in turn; if nothing can go, the log says so.

A site stays as well while a request is in flight or waits at its gate, and after a reload that
failed: the code that serves is then not the one on the disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from operator import itemgetter
from typing import Final, Self

from gateway.memory import resident
from gateway.registry import Registry
from gateway.site import Site

logger = logging.getLogger("gateway.rest")

LOOK: Final = 5.0
"""Seconds between looks."""
SETTLED: Final = 30.0
"""Seconds without a request before the budget counts for a site."""


class Rest:
    """Looks after the sites of a registry, while inside ``async with``.

    ``budget`` is in bytes, 0 for none; ``memory`` tells how much the process has. ``note`` is told
    of each site that was unloaded, with its generation and ``idle`` or ``memory``.
    """

    def __init__(
        self,
        registry: Registry,
        budget: int,
        note: Callable[[str, int, str], None],
        *,
        memory: Callable[[], int] = resident,
        look: float = LOOK,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._budget = budget
        self._note = note
        self._memory = memory
        self._pause = look
        self._clock = clock
        self._told = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="let idle sites rest")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            try:
                self.look()
            except Exception:
                logger.exception("looking for idle sites failed; it goes on in a moment")

    def look(self) -> None:
        """Unload what may rest now."""
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
                self._unload(site, "idle")
        if self._budget:
            self._keep_the_budget([site for seconds, site in idle if seconds >= SETTLED])

    def _keep_the_budget(self, settled: list[Site]) -> None:
        memory = self._memory()
        if memory <= self._budget:
            self._told = False
        elif not any(self._unload(site, "memory") for site in settled) and not self._told:
            self._told = True
            logger.warning(
                "the process has %d MB, and %d as its budget: all sites that are loaded are in use",
                memory >> 20,
                self._budget >> 20,
            )

    def _unload(self, site: Site, why: str) -> bool:
        generation = site.status().generation
        if not site.rest():
            return False
        logger.info("%s: generation %d was unloaded (%s)", site.config.name, generation, why)
        self._note(site.config.name, generation, why)
        return True
