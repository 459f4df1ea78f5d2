"""The history: what happened to the sites, and who wanted it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from gateway.cluster.store import Entry, Store
from gateway.cluster.store.thread import StoreThread
from gateway.errors import Fault
from gateway.sites.registry import Report, Result, log_faults
from gateway.sites.site import Attempt

SAME_EDIT: Final = 10.0
"""Seconds within which workers that find the same in ``sites.json`` look at the same edit of it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Cause:
    event: str
    asker: str
    sites: frozenset[str]


class History:
    """Writes the history of one worker."""

    def __init__(self, store_thread: StoreThread, worker: str) -> None:
        self._store_thread = store_thread
        self._worker = worker
        self._causes: list[_Cause] = []

    @contextmanager
    def asked(self, event: str, asker: str, sites: Collection[str]) -> Iterator[None]:
        """Loads of these sites that begin meanwhile are what ``asker`` wanted."""
        cause = _Cause(event, asker, frozenset(sites))
        self._causes.append(cause)
        try:
            yield
        finally:
            self._causes.remove(cause)

    def attempted(self, attempt: Attempt) -> None:
        """A site was loaded, or was not."""
        cause = next(
            (cause for cause in reversed(self._causes) if attempt.site in cause.sites),
            _Cause("load", "request", frozenset()),
        )
        self._note(
            self._entry(
                cause.event,
                Result.LOADED if attempt.reason is None else Result.FAILED,
                cause.asker,
                site=attempt.site,
                generation=attempt.generation,
                reason=attempt.reason,
                seconds=attempt.seconds,
            )
        )

    def removed(self, report: Report, asker: str) -> None:
        """Sites have left ``sites.json``."""
        for name, outcome in report.sites.items():
            if outcome.outcome is Result.REMOVED:
                self._note(
                    self._entry(
                        "remove", Result.REMOVED, asker, site=name, generation=outcome.generation
                    )
                )

    def faults(self, faults: tuple[Fault, ...]) -> None:
        """What is wrong with ``sites.json`` has changed; of all workers, one says so in the log."""
        reason = "\n".join(map(str, faults)) or None
        entry = self._entry("file", "invalid" if faults else "valid", "file", reason=reason)

        def say(store: Store) -> None:
            if store.note_news(entry, entry.at - SAME_EDIT):
                log_faults(faults)

        def said(told: Future[None]) -> None:
            if told.exception() is not None:
                log_faults(faults)

        self._store_thread.tell(say).add_done_callback(said)

    def rested(self, site: str, generation: int, why: str) -> None:
        """A site was unloaded because it was ``idle``, or for ``memory``."""
        self._note(self._entry("rest", "unloaded", why, site=site, generation=generation))

    def _note(self, entry: Entry) -> None:
        self._store_thread.tell(lambda store: store.note(entry))

    def _entry(
        self,
        event: str,
        result: str,
        asker: str,
        *,
        site: str = "",
        generation: int = 0,
        reason: str | None = None,
        seconds: float = 0.0,
    ) -> Entry:
        return Entry(
            at=time.time(),
            event=event,
            site=site,
            generation=generation,
            result=str(result),
            reason=reason,
            duration_ms=round(seconds * 1000, 1),
            asker=asker,
            worker=self._worker,
        )
