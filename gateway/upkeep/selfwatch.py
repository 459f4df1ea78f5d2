"""The gateway watches itself: its event loop has to turn, and its places have to be given back.

Once a second the loop notes that it has turned, and the places with the governor are audited
(`gateway.execution.audit`). A request pays nothing for that. What is seen goes into the log and
into ``/_health`` (`gateway.cluster.sightings`), and nothing is mended: it is a defect, of the
gateway or of what runs in it, that should be noticed.

While the loop stands still it answers nobody, also not at ``/_health``: the load balancer finds out
by its own time-out, and other workers because no report comes. Afterwards, this worker tells it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Final, Self

from gateway.cluster.sightings import Sightings
from gateway.disk.statefolder import StateFolder
from gateway.execution.audit import Finding
from gateway.upkeep.stacks import STANDS, Stacks

logger = logging.getLogger("gateway.watch")

INTERVAL: Final = 1.0
"""Seconds between two turns that are noted."""
_LATE: Final = STANDS - INTERVAL
"""Seconds by which a turn may be late."""
GRAVE: Final = 10.0
"""Seconds of standstill after which load balancers should have avoided this worker."""


class SelfWatch:
    """Watches the event loop on which it is entered (``async with``), and the places by ``audit``.

    What it sees goes into ``sightings``, and stacks into a file of ``worker`` in ``folder``.
    """

    def __init__(
        self,
        audit: Callable[[], Mapping[Hashable, Finding]],
        sightings: Sightings,
        folder: StateFolder,
        worker: str,
    ) -> None:
        self._audit = audit
        self._sightings = sightings
        self._folder = folder
        self._worker = worker
        self._turned = time.monotonic()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._turned = time.monotonic()
        self._stacks = Stacks(self._folder, self._worker, lambda: self._turned)
        await asyncio.to_thread(self._stacks.start)
        self._timer = self._loop.call_later(INTERVAL, self._look)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
        await asyncio.to_thread(self._stacks.stop)

    def _look(self) -> None:
        self._timer = self._loop.call_later(INTERVAL, self._look)
        now = time.monotonic()
        late, self._turned = now - self._turned - INTERVAL, now
        if late > _LATE:
            what = f"the event loop stood still for at least {late:.1f} s"
            logger.error("%s", what)
            self._sightings.note(what, grave=late >= GRAVE, seconds=late)
        try:
            found = self._audit()
        except Exception:
            logger.exception("the places could not be audited")
            return
        for what in self._sightings.follow({k: (f.what, f.lost) for k, f in found.items()}):
            logger.error("%s", what)
