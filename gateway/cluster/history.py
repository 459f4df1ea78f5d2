"""The history: a record of what happened to the sites, and who asked for it."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Final

from gateway.cluster.crashes import last_report, log_crash
from gateway.cluster.store import Entry, Store
from gateway.cluster.store.thread import StoreThread
from gateway.errors import Fault
from gateway.sites.events import (
    Cause,
    Crashed,
    Ending,
    Failed,
    FaultsChanged,
    Happening,
    Idled,
    Loaded,
    Removed,
    Survived,
)
from gateway.sites.registry import log_faults
from gateway.sites.reloads import Result

SAME_EDIT: Final = 10.0
"""Seconds. If workers find the same faults within this time, they have read the same edit."""


class History:
    """The writer of one worker's history. It is a subscriber of the events of the sites."""

    def __init__(self, store_thread: StoreThread, worker: str) -> None:
        self._store_thread = store_thread
        self._worker = worker

    def __call__(self, event: Happening) -> None:
        """Write an event into the history, if it is of a kind that belongs there."""
        match event:
            case Loaded(site, generation, cause, seconds, warning):
                self._ended(cause, Result.LOADED, site, generation, seconds, warning)
            case Failed(site, generation, cause, seconds, reason):
                self._ended(cause, Result.FAILED, site, generation, seconds, reason)
            case Removed(site, generation, cause):
                self._write("remove", Result.REMOVED, cause.asker, site=site, generation=generation)
            case Idled(site, generation, cause):
                self._write("unload", "unloaded", cause.asker, site=site, generation=generation)
            case Survived(site, generation, cause, holder):
                self._write(
                    "unload",
                    "survived",
                    cause.asker,
                    site=site,
                    generation=generation,
                    reason=f"held by {holder}",
                )
            case Crashed():
                self._crashed(event)
            case FaultsChanged(faults):
                self._say(faults)

    def _ended(
        self,
        cause: Cause,
        result: Result,
        site: str,
        generation: int,
        seconds: float,
        reason: str | None,
    ) -> None:
        self._write(
            cause.wanted,
            result,
            cause.asker,
            site=site,
            generation=generation,
            reason=reason,
            seconds=seconds,
        )

    def _say(self, faults: tuple[Fault, ...]) -> None:
        """Record that the faults of ``sites.json`` have changed; only one worker logs them."""
        reason = "\n".join(map(str, faults)) or None
        entry = self._entry("file", "invalid" if faults else "valid", "file", reason=reason)

        def say(store: Store) -> None:
            if store.note_news(entry, entry.at - SAME_EDIT):
                log_faults(faults)

        def said(told: Future[None]) -> None:
            if told.exception() is not None:
                log_faults(faults)

        self._store_thread.tell(say).add_done_callback(said)

    def _crashed(self, crash: Crashed) -> None:
        """Log and record a crash, under the id of the worker that it happened to."""
        log_crash(crash)
        ending = crash.ending or Ending("")
        reason = f"{ending}; it {last_report(crash)}" if crash.ending else last_report(crash)
        entry = self._entry(
            "worker", "crashed", "", site=ending.site, generation=ending.generation, reason=reason
        )
        entry = replace(entry, worker=crash.worker)
        self._store_thread.tell(lambda store: store.note(entry))

    def _write(self, event: str, result: str, asker: str, **more: Any) -> None:
        entry = self._entry(event, result, asker, **more)
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
