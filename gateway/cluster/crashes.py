"""Workers that have crashed, or were killed.

A worker that ends says so in the store. If its process is gone and it has not, another worker
publishes `Crashed`: one that runs, or the first that starts afterwards. Whichever marks it in the
store first does so, and no other.

The processes of another container cannot be seen from here. Such a worker counts as crashed when
this one has watched it for `SILENT` seconds and it has not reported. The watching is what counts,
not the time of the last report: after a machine was suspended, all of them look old.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Final

from gateway.cluster.identity import SILENT, Identity
from gateway.cluster.store import Store, Worker
from gateway.cluster.store.thread import StoreThread
from gateway.sites.events import Crashed, Ending
from gateway.sites.state import State

logger = logging.getLogger("gateway.control")

INTERVAL: Final = 1.0
"""Seconds between two checks."""


def mark_ended(store: Store, worker: Worker) -> tuple[bool, Ending | None]:
    """Mark a worker that has ended, and look for nothing that it has left behind."""
    return store.mark_ended(worker), None


class Crashes:
    """Looks for crashed workers on behalf of one worker. Used on the event loop only.

    ``bury`` is called on the thread of the store, to mark a worker there that has ended. It returns
    false if somebody else has done so, and what the worker has left behind about its end.
    """

    def __init__(
        self,
        store_thread: StoreThread,
        identity: Identity,
        publish: Callable[[Crashed], None],
        *,
        bury: Callable[[Store, Worker], tuple[bool, Ending | None]] = mark_ended,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bury = bury
        self._store_thread = store_thread
        self._identity = identity
        self._publish = publish
        self._clock = clock
        self._checked_at = -INTERVAL
        self._watched: dict[str, tuple[float, float]] = {}
        """For each worker its last report, and since when this worker has known of that one."""
        self._settled: dict[str, float] = {}
        """Crashed workers, by the last report of each: these have been published."""

    def reset(self) -> None:
        """Begin to watch anew, because reports may have been missed."""
        self._watched.clear()

    async def check(self, workers: Iterable[Worker]) -> None:
        """Publish which of ``workers`` have crashed, once in `INTERVAL`; raises `StoreError`."""
        now = self._clock()
        if now - self._checked_at < INTERVAL:
            return
        self._checked_at = now
        running = {w.id: w for w in workers if not w.ended and w.id != self._identity.id}
        self._watched = {id: self._watch(worker, now) for id, worker in running.items()}
        self._settled = {id: seen for id, seen in self._settled.items() if id in running}
        for worker in running.values():
            if self._settled.get(worker.id) != worker.seen and self._has_crashed(worker, now):
                bury = partial(self._bury_in, worker=worker)
                first, ending = await self._store_thread.ask(bury)
                self._settled[worker.id] = worker.seen
                if first:
                    self._publish(replace(_crashed(worker), ending=ending))

    def _bury_in(self, store: Store, *, worker: Worker) -> tuple[bool, Ending | None]:
        return self._bury(store, worker)

    def silence(self, worker: Worker) -> float:
        """Return for how many seconds a worker had not reported at the last check.

        Times at which this worker itself did not look do not count.
        """
        seen, since = self._watched.get(worker.id, (worker.seen, self._checked_at))
        return self._checked_at - since if seen == worker.seen else 0.0

    def _watch(self, worker: Worker, now: float) -> tuple[float, float]:
        before = self._watched.get(worker.id)
        return before if before and before[0] == worker.seen else (worker.seen, now)

    def _has_crashed(self, worker: Worker, now: float) -> bool:
        gone = self._identity.is_gone(worker)
        return now - self._watched[worker.id][1] > SILENT if gone is None else gone


def _crashed(worker: Worker) -> Crashed:
    def named(state: State) -> tuple[str, ...]:
        sites = worker.health.get("sites", {})
        return tuple(sorted(name for name, site in sites.items() if site["state"] == state))

    return Crashed(worker.id, worker.pid, worker.seen, named(State.READY), named(State.LOADING))


def log_crash(crash: Crashed) -> None:
    """Log that a worker has crashed, and where the code was that ended it."""
    ending = crash.ending
    how = f"was ended by {ending}" if ending else "has crashed or was killed"
    stack = f"\n{ending.stack}" if ending and ending.stack else ""
    logger.error(
        "worker %s (pid %d) %s: it %s%s", crash.worker, crash.pid, how, last_report(crash), stack
    )


def last_report(crash: Crashed) -> str:
    """Return in a line what a crashed worker said last, and how long ago."""
    text = f"reported {max(0.0, time.time() - crash.seen):.0f} s ago for the last time"
    if crash.loading:
        text += f"; it was loading {', '.join(crash.loading)}"
    if crash.loaded:
        text += f"; it had loaded {', '.join(crash.loaded)}"
    return text
