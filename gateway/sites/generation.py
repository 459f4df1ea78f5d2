"""One generation of a site: its code, the requests that it has taken, and its retirement."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from starlette.types import Receive, Scope, Send

from gateway.config import SiteConfig
from gateway.sites.events import Cause
from gateway.sites.loads import Begin
from gateway.sites.reporting import Reporter
from gateway.sites.sources import Sources


@dataclass(frozen=True, slots=True)
class Hung:
    """A request that hangs: its method and path, the seconds since it came, and where it is."""

    request: str
    seconds: float
    stack: str


class LoadedCode(Protocol):
    """One loading of a site's code, able to serve."""

    number: int

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one HTTP request (ASGI)."""

    def in_flight(self) -> Iterable[str]:
        """Return what each request that it has taken is doing, as texts that may hold secrets."""

    async def close(self, cause: Cause) -> None:
        """Unload, for the sake of ``cause``; what it raises is logged.

        It is called exactly once, after the last request has ended or was given up.
        """


class Backend(Protocol):
    """A way to load and run the code of sites."""

    async def load(
        self,
        config: SiteConfig,
        number: int,
        sources: Sources | None,
        cause: Cause,
        begin: Begin,
    ) -> LoadedCode:
        """Load the code of generation ``number`` of a site; raises `LoadError`.

        ``begin`` is awaited when the load has waited for all that it waits for, and before any of
        the code runs.

        The backend adds the files of the code to ``sources``, now and whenever it reads more,
        whether the attempt succeeds or not. If this is cancelled, nothing of the attempt may stay
        behind that serves or is waited for.
        """

    def hung(self, site: str) -> list[Hung]:
        """What requests of ``site`` hang, of whatever generation; masked."""

    def survivors(self, site: str) -> list[str]:
        """Return a line for each generation of ``site`` that was closed and is still in memory.

        The lines are masked.
        """


class Generation:
    """Code that was loaded, and the requests that it has taken. A request enters it by ``with``.

    ``reporter`` speaks for the site, with the environment that the generation was loaded with.
    """

    def __init__(
        self,
        code: LoadedCode,
        reporter: Reporter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.code = code
        self.number = code.number
        self.log = reporter.logger("gateway.site")
        self.mask = reporter.mask
        self.in_flight = 0
        self.used_at = clock()
        """The moment when the last request ended, or when this was made."""
        self._clock = clock
        self._released = asyncio.Event()
        self._released.set()

    def __enter__(self) -> None:
        self.in_flight += 1
        self._released.clear()

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self.used_at = self._clock()
            self._released.set()

    def give_up(self) -> None:
        """Stop waiting for the requests in flight."""
        self._released.set()

    async def retire(self, timeout: float, cause: Cause) -> None:
        """Unload once no request is in flight, ``timeout`` seconds from now at the latest.

        Requests that have not ended by then are no longer waited for. The log tells what they do.
        """
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._released.wait()
            if self.in_flight:
                self.log.warning(
                    "generation %d is unloaded although %d of its requests have not ended:\n%s",
                    self.number,
                    self.in_flight,
                    "\n".join(self.code.in_flight()),
                )
        finally:
            await self.code.close(cause)
