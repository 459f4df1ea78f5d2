"""Sites whose code ends workers: who it was, and that nobody lets them do it again and again.

Whoever finds a crashed worker reads what that one has left behind (`gateway.cluster.evidence`), and
writes its end into the store. A site that was shown to have ended `Blame.limit` workers within
`WINDOW` is *set aside* by that, in all workers: its visitors get 503, and nobody loads it for them.
It is let in again when it has been reloaded by its name, or because its code or its entry has
changed.

An end amid a load counts against nobody here, nor one of a generation that was only tried while an
older one served: the older one may go on.

Ends of which nobody knows the site are counted as well, because somebody has to look if there are
many (`Blame.unexplained`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from gateway.cluster import evidence
from gateway.cluster.store import STOPPING, End, Store, Worker
from gateway.cluster.store.thread import StoreThread
from gateway.config import SiteConfig
from gateway.disk.statefolder import StateFolder
from gateway.disk.trustedfolder import StateError
from gateway.sites.events import Crashed, Ending
from gateway.sites.registry import Registry
from gateway.sites.reporting import Reporter

logger = logging.getLogger("gateway.control")

WINDOW: Final = 300.0
"""Seconds within which the ends of workers count together."""
UNEXPLAINED: Final = 3
"""Ends of unknown cause within `WINDOW` of which `Blame.unexplained` tells."""
_NO_TRACE: Final = "it was killed, or has left no trace"
_ASKED: Final = ", after it was asked to end"
"""Comes after how a worker has ended that had said before that it stops."""
TOLD: Final = 3600.0
"""Seconds for which ``/_health`` tells of a worker that has ended."""


class Known(NamedTuple):
    """What the store knows: the ends of workers, and the sites that are set aside, with reasons."""

    ends: list[End]
    asides: Mapping[str, str]

    @classmethod
    def of(cls, store: Store) -> Known:
        """Return what a store knows. Called on its thread."""
        return cls(store.ends(time.time() - TOLD), store.asides())


class Files(NamedTuple):
    """Where the workers leave behind how they end: the folder, and how the names begin."""

    folder: StateFolder
    prefix: str


class Blame:
    """One worker's part in it. On the event loop, but for `bury`."""

    def __init__(
        self,
        registry: Registry,
        store_thread: StoreThread,
        worker: str,
        files: Files,
        limit: int,
    ) -> None:
        self.known = Known([], {})
        self.limit = limit
        self._registry = registry
        self._store_thread = store_thread
        self._worker = worker
        self._files = files
        self._entries: dict[str, SiteConfig | None] = {}
        self._swept = False
        self._stale = False

    def bury(self, store: Store, worker: Worker) -> tuple[bool, Ending | None]:
        """Mark a worker that has ended, and write down what it has left behind about its end.

        See `Crashes`. Called on the thread of the store.
        """
        folder, name = self._files.folder, self._files.prefix + worker.id
        try:
            ending = evidence.read(folder, name)
        except (StateError, OSError, ValueError, TypeError) as error:
            logger.warning("nobody knows how worker %s has ended: %s", worker.id, error)
            ending = None
        first = store.mark_ended(worker, ending.site if ending else "")
        if first:
            self._stale = True  # what this worker writes is no news to it
            self._note(store, worker, ending)
            evidence.discard(folder, name)
        return first, ending

    def _note(self, store: Store, worker: Worker, ending: Ending | None) -> None:
        now = time.time()
        served = worker.health.get("sites", {}).get(ending.site, {}) if ending else {}
        reason = ""
        if ending is None or not ending.site:
            asked = _ASKED if worker.health.get("status") == STOPPING else ""
            end = End(now, worker.id, f"{ending or _NO_TRACE}{asked}", "", 0, False)
        else:
            tried = 0 < served.get("generation", 0) < ending.generation
            counts = not ending.loading and not tried
            end = End(now, worker.id, str(ending), ending.site, ending.generation, counts)
            many = f"{self.limit} workers" if self.limit > 1 else "a worker"
            reason = (
                f"its code has ended {many} within {WINDOW / 60:.0f} minutes, at last by "
                f"{ending.how}; reload it by its name when it is mended"
            )
        if store.note_end(end, self.limit, now - WINDOW, reason):
            logger.error("%s: set aside: %s", end.site, reason)

    def unexplained(self) -> str | None:
        """Tell of workers that have ended, and nobody knows by whose code; ``None`` if by chance.

        Those that were asked to end do not count.
        """
        since = time.time() - WINDOW
        unknown = (end for end in self.known.ends if not end.site and end.at >= since)
        count = sum(not end.how.endswith(_ASKED) for end in unknown)
        if count < UNEXPLAINED:
            return None
        return (
            f"{count} workers have ended within {WINDOW / 60:.0f} minutes, and nothing shows which "
            "site ended them"
        )

    def masked(self, crash: Crashed) -> Crashed:
        """Return what is to be published of a crash: the stack without secrets, or none."""
        ending = crash.ending
        if ending is None or not ending.stack:
            return crash
        config = self._config(ending.site)
        stack = Reporter(config.name, config.env).mask(ending.stack) if config else ""
        return replace(crash, ending=replace(ending, stack=stack))

    def follow(self, known: Known) -> None:
        """Set those sites aside that the store has, and let the others in.

        Without a limit, none are.
        """
        self.known = known = known if self.limit else known._replace(asides={})
        self._entries = {site: self._entries.get(site, self._config(site)) for site in known.asides}
        self._registry.set_aside(known.asides)

    async def look(self, workers: Iterable[Worker]) -> None:
        """Take note of whom this worker has buried, and let sites in whose entries have changed.

        The first time, remove files that nobody reads. Raises `StoreError`.
        """
        if self._stale:
            self.follow(await self._store_thread.ask(Known.of))
            self._stale = False
        changed = [site for site, entry in self._entries.items() if entry != self._config(site)]
        await self.forgive(changed, "file")
        if not self._swept:
            self._swept = True
            awaited = {worker.id for worker in workers if not worker.ended}
            self._store_thread.tell(partial(self._sweep, awaited))

    async def forgive(self, sites: Iterable[str], asker: str) -> None:
        """Let sites in again that were set aside, in all workers; raises `StoreError`."""
        for site in set(sites).intersection(self.known.asides):
            self.follow(await self._store_thread.ask(partial(self._forgive, site, asker)))

    def _forgive(self, site: str, asker: str, store: Store) -> Known:
        store.forgive(site, self._worker, asker)
        return Known.of(store)

    def _config(self, site: str) -> SiteConfig | None:
        return self._registry.config.sites.get(site)

    def _sweep(self, awaited: Collection[str], store: Store) -> None:
        try:
            evidence.sweep(self._files.folder, self._files.prefix, awaited)
        except (StateError, OSError) as error:
            logger.warning("files of earlier workers could not be removed: %s", error)
