"""Sites with ``"watch": true`` are reloaded when their code changes.

The files are checked at intervals, as Django's own ``StatReloader`` does. Events of the file system
would not do: network file systems and bind mounts send none, a machine allows few watches, and
databases, logs and uploads in the same folders would cause events all the time. A reload begins
when one check has found no further change, so that an editor or ``git`` can finish its work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Self

from gateway.errors import listed
from gateway.execution.errands import on_daemon_thread
from gateway.sites.registry import Registry
from gateway.sites.site import Site

logger = logging.getLogger("gateway.autoreload")

INTERVAL: Final = 0.5
"""Seconds between two checks."""
SHARE: Final = 0.05
"""The share of a processor that the checks take at most: with many files they become rarer."""
LATE: Final = 2.0
"""Seconds that a look at one site may keep the others waiting: its file system may hang."""
_SHOWN: Final = 3


class CodeWatch:
    """Reloads the watched sites of a registry when their code changes, while inside ``async with``.

    ``reload`` loads the code on disk. ``interval`` is the time between two checks, ``late`` as
    `LATE`, both in seconds.
    """

    def __init__(
        self,
        registry: Registry,
        reload: Callable[[Site], Awaitable[object]],
        *,
        interval: float = INTERVAL,
        late: float = LATE,
    ) -> None:
        self._registry = registry
        self._reload = reload
        self._interval = interval
        self._late = late
        self._looks: dict[Site, asyncio.Future[list[str]]] = {}
        """The look that is under way at each site."""
        self._changes: dict[Site, list[str]] = {}
        """For each site the paths that have changed lately, while further changes may follow."""
        self._reloads: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="watch the code of sites")
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = {self._task, *self._reloads}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _run(self) -> None:
        pause = self._interval
        while True:
            await asyncio.sleep(pause)
            started = time.monotonic()
            try:
                await self._check()
            except Exception:
                logger.exception("watching the code of sites failed; it goes on in a moment")
            pause = max(self._interval, (time.monotonic() - started) / SHARE)

    async def _check(self) -> None:
        sites = self._registry.watched_sites()
        for left in (self._changes, self._looks):
            for site in left.keys() - sites:
                del left[site]
        for site in sites:
            changed = await self._changed(site)
            if changed is None:
                continue
            if changed:
                self._changes.setdefault(site, []).extend(changed)
            elif site in self._changes:
                self._begin(site, self._changes.pop(site))

    async def _changed(self, site: Site) -> list[str] | None:
        """Return the paths that have changed; ``None`` if that is not known.

        A look that hangs has a thread of its own, and is waited for only once. One that fails
        concerns its site alone.
        """
        hangs = site in self._looks
        if not hangs:
            _, begun = on_daemon_thread(f"{site.config.name} watch", site.sources.changed)
            self._looks[site] = asyncio.wrap_future(begun)
        look = self._looks[site]
        await asyncio.wait({look}, timeout=0 if hangs else self._late)
        log = site.reporter.logger("gateway.autoreload")
        if look.done():
            del self._looks[site]
            try:
                return look.result()
            except Exception:
                log.exception("its files could not be looked at")
        elif not hangs:
            log.warning(
                "a look at its files takes more than %g s; others are not kept waiting", self._late
            )
        return None

    def _begin(self, site: Site, changed: list[str]) -> None:
        different = dict.fromkeys(changed)
        site.reporter.logger("gateway.autoreload").info(
            "reloading for changes in %s", listed(different, _SHOWN)
        )
        # This is not awaited: a site that hangs while it loads must not hide the next change.
        task = asyncio.create_task(self._follow(site), name=f"follow {site.config.name}")
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _follow(self, site: Site) -> None:
        try:
            await self._reload(site)
        except Exception:
            site.reporter.logger("gateway.autoreload").exception("could not be reloaded")
