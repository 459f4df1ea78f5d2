"""The history: what happened to the sites, and who wanted it."""

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
"""Seconds within which workers that find the same in ``sites.json`` look at the same edit of it."""


class History:
    """Writes the history of one worker. It subscribes to what happens to the sites."""

    def __init__(self, store_thread: StoreThread, worker: str) -> None:
        self._store_thread = store_thread
        self._worker = worker

    def __call__(self, event: Happening) -> None:
        """Write down what has happened, if it is for the history."""
        match event:
            case Loaded(site, generation, cause, seconds):
                self._ended(cause, Result.LOADED, site, generation, seconds, None)
            case Failed(site, generation, cause, seconds, reason):
                self._ended(cause, Result.FAILED, site, generation, seconds, reason)
            case Removed(site, generation, cause):
                self._note("remove", Result.REMOVED, cause.asker, site=site, generation=generation)
            case Idled(site, generation, cause):
                self._note("unload", "unloaded", cause.asker, site=site, generation=generation)
            case Survived(site, generation, cause, holder):
                self._note(
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
        self._note(
            cause.wanted,
            result,
            cause.asker,
            site=site,
            generation=generation,
            reason=reason,
            seconds=seconds,
        )

    def _say(self, faults: tuple[Fault, ...]) -> None:
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

    def _crashed(self, crash: Crashed) -> None:
        """Log and record a crash, under the id of the worker that it happened to."""
        log_crash(crash)
        entry = self._entry("worker", "crashed", "", reason=last_report(crash))
        entry = replace(entry, worker=crash.worker)
        self._store_thread.tell(lambda store: store.note(entry))

    def _note(self, event: str, result: str, asker: str, **more: Any) -> None:
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
