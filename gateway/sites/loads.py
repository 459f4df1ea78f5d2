"""The permission to load a site, which somebody may withhold for the sake of the other sites."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from gateway.config import SiteConfig
from gateway.sites.sources import Sources

Begin = Callable[[], Awaitable[None]]
"""Awaited right before the first line of a site's code runs; it never raises."""


class Loads(Protocol):
    """Those who have to know of each load, before it begins and when it has ended."""

    def claim(
        self, config: SiteConfig, number: int, sources: Sources | None
    ) -> AbstractAsyncContextManager[Begin]:
        """Wait until generation ``number`` of a site may be loaded, which happens in the block.

        Raises `LoadError` if it must not be. Then ``sources`` has what would change that.
        """


async def nothing_to_do() -> None:
    """Begin a load of which nobody has to know."""


class FreeLoads:
    """Loads of which nobody has to know. It implements `Loads`."""

    @asynccontextmanager
    async def claim(
        self, config: SiteConfig, number: int, sources: Sources | None
    ) -> AsyncIterator[Begin]:
        """See `Loads`."""
        yield nothing_to_do
