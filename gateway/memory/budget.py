"""The memory that a process may have, and the loads that wait for some of it.

The memory of an unloaded site is free only seconds later (``collector.py``), while a visitor may
ask for a site that is not loaded at any time. So a load waits for room, and `upkeep.idle`, which
unloads other sites, sees that a load waits. A load does not wait for ever: if the budget cannot be
kept, visitors lose time, but they still get an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from gateway.memory.figures import resident

PATIENCE: Final = 10.0
"""Seconds that a load waits for room."""
_LEAST: Final = 4 << 20
"""The least number of bytes that a site is expected to take, also before any was measured."""
_LOOK: Final = 0.1
"""Seconds between two checks whether there is room."""


class Budget:
    """The budget of one process. ``limit`` and ``memory()`` are in bytes; 0 is for no limit.

    A load waits at most ``patience`` seconds, and checks every ``look`` seconds whether there is
    room.
    """

    def __init__(
        self,
        limit: int = 0,
        *,
        memory: Callable[[], int] = resident,
        patience: float = PATIENCE,
        look: float = _LOOK,
    ) -> None:
        self.limit = limit
        self.memory = memory
        self._patience = patience
        self._look = look
        self._empty = memory()
        self._each = _LEAST
        self._coming = 0
        self._waiting = 0
        self._line = asyncio.Lock()

    def learn(self, loaded: int) -> int:
        """Measure the bytes that each of ``loaded`` sites takes, remember them and return them."""
        self._each = max(_LEAST, (self.memory() - self._empty) // max(1, loaded))
        return self._each

    @property
    def excess(self) -> int:
        """The bytes above the limit, with all sites that load or wait; negative if below it."""
        return self._above(self._coming + self._waiting)

    @asynccontextmanager
    async def room(self) -> AsyncIterator[None]:
        """Wait in line, up to `PATIENCE`, for room for one more site; it loads in the block."""
        if self.limit:
            self._waiting += 1
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._patience), self._line:
                        while self._above(self._coming + 1) > 0:
                            await asyncio.sleep(self._look)
            finally:
                self._waiting -= 1
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    def _above(self, sites: int) -> int:
        return self.memory() + sites * self._each - self.limit
