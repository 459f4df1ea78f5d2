"""Requests that hang in the code of their site: who they are, and that they stop nobody else.

Python cannot end a thread. A request hangs when it has run for longer than the ``request_timeout``
of its site without an answer, or for so long after its client has left, or when its generation has
been unloaded. From then on it counts against no limit, and the pool has one thread more, up to a
bound (`Governor.set_aside`). ``/_health`` lists it until it ends.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, cast
from weakref import WeakKeyDictionary, WeakSet

from gateway.execution.governor import Governor
from gateway.execution.passage import Passage, Stage
from gateway.execution.pool import Pool, Threads
from gateway.sites.generation import Hung

logger = logging.getLogger("gateway.wsgi")

_INTERVAL: Final = 1.0
"""Seconds between two looks at the requests that run."""


class Hangs:
    """Looks for requests that hang, as long as any run. Used on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, governor: Governor, pool: Pool) -> None:
        self._loop = loop
        self._governor = governor
        self._pool = pool
        self._hung: WeakKeyDictionary[Passage, bool] = WeakKeyDictionary()
        """Whether each was set aside. A request that has ended holds its generation no longer."""
        self._unloaded: WeakSet[Threads] = WeakSet()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Look from now on until nothing runs."""
        if self._timer is None:
            self._timer = self._loop.call_later(_INTERVAL, self._look)

    def of(self, site: str) -> list[Hung]:
        """Return the requests of a site that hang now, secrets masked."""
        found, now = [], self._loop.time()
        for passage in tuple(self._hung):
            reporter = passage.threads.reporter
            job = passage.job  # before the question: it is another once the passage is over
            if reporter.site == site and passage.runs:
                hung = job.hung(now)
                texts = reporter.mask(hung.request), reporter.mask(hung.stack)
                found.append(Hung(texts[0], hung.seconds, texts[1]))
        return found

    def unloaded(self, threads: Threads) -> None:
        """Take note that what a generation still runs at the next look hangs."""
        self._unloaded.add(threads)
        self.watch()

    def _add(self, passage: Passage) -> None:
        job = passage.job
        if self._hung.get(passage) or not passage.runs:
            return
        if not job.told:
            job.told = True
            hung = job.hung(self._loop.time())
            passage.threads.reporter.logger("gateway.wsgi").error(
                "%s hangs, since %.0f s; it is here:\n%s", hung.request, hung.seconds, hung.stack
            )
        self._hung[passage] = passage.set_aside()

    def _look(self) -> None:
        self._timer = None
        try:
            self._pool.bury()
            running = cast("list[Passage]", self._governor.running())
            now = self._loop.time()
            for passage in running:
                if passage.threads in self._unloaded or passage.job.hangs(now):
                    self._add(passage)
        except Exception:
            logger.exception("the requests that hang could not be looked for")
            running = []
        finally:
            self._count()
        if running or self._hung:
            self.watch()

    def _count(self) -> None:
        """Forget who is over; the pool has a thread more for each other one that was set aside."""
        for passage in tuple(self._hung):
            if passage.stage is Stage.OVER:
                del self._hung[passage]
        self._pool.allow(sum(self._hung.values()))
