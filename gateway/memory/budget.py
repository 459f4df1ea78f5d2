"""The memory that a process may have, and the sites that wait for some of it.

Unloading a site gives its memory back only seconds later (``collector.py``), while sites that
nobody has loaded yet may be asked for at any time. So a load waits for room; who unloads others
(`upkeep.idle`) sees that somebody waits. Not for ever: a budget that cannot be kept costs time,
never an answer.
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
"""Bytes that a site takes at least, also as long as nobody knows."""
_LOOK: Final = 0.1
"""Seconds between looks whether there is room."""


class Budget:
    """``limit`` and what ``memory`` tells are in bytes; 0 for no limit.

    A load waits ``patience`` seconds at most. Every ``look`` seconds it looks whether there is
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
        """Reckon from now on with what ``loaded`` sites take; returns the bytes of one of them."""
        self._each = max(_LEAST, (self.memory() - self._empty) // max(1, loaded))
        return self._each

    @property
    def excess(self) -> int:
        """Bytes above the limit, with all that load and that wait; below it, negative."""
        return self._above(self._coming + self._waiting)

    @asynccontextmanager
    async def room(self) -> AsyncIterator[None]:
        """Wait, in order, until there is room for one more site; it loads during the block."""
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
