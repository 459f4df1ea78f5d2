"""The trial of a reload, and who goes on with it if the worker that was asked dies.

A trial is announced as an order before it begins and settled when the others have been told to
follow. They look after it meanwhile: if its worker ends without a word (killed, out of memory),
one of them, the first to claim it, tries in its place. Only once, since it may well have been the
new code that brought the process down, and then each worker that tries it is lost.
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
"""The kind of these orders."""
LOOK: Final = 0.3
"""Seconds between looks at a trial under way."""
_ATTEMPTS: Final = 2


class Takeovers:
    """The trials of one worker, and its part in those of others."""

    def __init__(self, store_thread: StoreThread, identity: Identity) -> None:
        self._store_thread = store_thread
        self._identity = identity

    @asynccontextmanager
    async def announced(
        self, sites: Sequence[str], asker: str, attempt: int
    ) -> AsyncIterator[None]:
        """Let the others know of a trial as long as it takes. Without a store nobody does."""
        me = self._identity.id
        details = {"sites": sites, "attempt": attempt}
        try:
            number = await self._store_thread.ask(
                lambda store: store.order(TRIAL, details, me, asker)
            )
        except StoreError:
            yield  # the order that follows says what is wrong with it
            return
        try:
            yield
        finally:
            self._store_thread.tell(lambda store: store.settle(number, me, {"status": "ok"}))

    async def must_take_over(self, trial: Order) -> bool:
        """Wait until a trial is over, and tell whether this worker has to try in its place.

        Raises `StoreError`.
        """

        def under_way(store: Store) -> bool:
            # In this sequence: one that settles it in between is not taken for dead.
            there = any(w.id == trial.worker and can_reach(w) for w in store.workers())
            return there and trial.worker not in store.outcomes(trial.number)

        def claimed(store: Store) -> bool:
            settled = trial.worker in store.outcomes(trial.number)
            return not settled and store.claim(trial.number, self._identity.id)

        can_reach = self._identity.can_reach
        while await self._store_thread.ask(under_way):
            await asyncio.sleep(LOOK)
        first: bool = trial.details["attempt"] < _ATTEMPTS
        return first and await self._store_thread.ask(claimed)
