"""The trial of a reload, and its takeover by another worker if the worker that was asked dies.

A trial is announced as an order before it begins, and settled when the reload is over in all
workers. Until then the others watch it: if its worker ends without settling it (killed, out of
memory), the first of the others that claims the trial repeats it. That happens only once, because
the new code may have killed the process, and would kill each worker that tries it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from gateway.cluster.identity import Identity
from gateway.cluster.store import Order, Store, StoreError
from gateway.cluster.store.thread import StoreThread

TRIAL: Final = "trial"
"""The kind of an order that announces a trial."""
POLL_INTERVAL: Final = 0.3
"""Seconds between two looks at a trial that runs."""
_ATTEMPTS: Final = 2


class Takeovers:
    """The trials of one worker, and its takeovers of trials of others."""

    def __init__(self, store_thread: StoreThread, identity: Identity) -> None:
        self._store_thread = store_thread
        self._identity = identity

    @asynccontextmanager
    async def announced(
        self, sites: Sequence[str], asker: str, attempt: int
    ) -> AsyncIterator[None]:
        """Announce a trial to the others while the block runs. Without a store, just run it."""
        me = self._identity.id
        details = {"sites": sites, "attempt": attempt}
        try:
            number = await self._store_thread.ask(
                lambda store: store.order(TRIAL, details, me, asker)
            )
        except StoreError:
            yield  # the order that follows finds out what is wrong with the store
            return
        try:
            yield
        finally:
            self._store_thread.tell(lambda store: store.settle(number, me, {"status": "ok"}))

    async def must_take_over(self, trial: Order) -> bool:
        """Wait until a trial is over, and tell whether this worker has to repeat it.

        Raises `StoreError`.
        """

        def under_way(store: Store) -> bool:
            # In this sequence: a worker that settles its trial in between does not count as dead.
            there = any(w.id == trial.worker and can_reach(w) for w in store.workers())
            return there and trial.worker not in store.outcomes(trial.number)

        def claimed(store: Store) -> bool:
            settled = trial.worker in store.outcomes(trial.number)
            return not settled and store.claim(trial.number, self._identity.id)

        can_reach = self._identity.can_reach
        while await self._store_thread.ask(under_way):
            await asyncio.sleep(POLL_INTERVAL)
        first: bool = trial.details["attempt"] < _ATTEMPTS
        return first and await self._store_thread.ask(claimed)
