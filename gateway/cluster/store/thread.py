"""The only thread that uses the store, so that the event loop never waits for a disk."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from gateway.cluster.store import Store, StoreError

logger = logging.getLogger("gateway.store")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits for a store that fails or hangs; times in seconds."""

    answer: float = 5.0
    """The longest time that a caller waits. SQLite takes less, but a file system can hang."""
    reopen: float = 2.0
    """The time between two attempts to open a store that failed."""
    leave: float = 2.0
    """The longest time that the end of the block waits for earlier questions."""
    queue: int = 500
    """The most questions in the queue: if the thread hangs, they must not fill the memory."""


BOUNDS: Final = Bounds()


class StoreThread:
    """A thread that puts questions to a store, one at a time, inside ``async with``.

    ``open`` makes the store, and is called again after every failure. ``error`` says why the store
    does not work now, and is ``None`` if it works.
    """

    def __init__(self, open: Callable[[], Store], bounds: Bounds = BOUNDS) -> None:
        self.error: str | None = None
        self._open = open
        self._bounds = bounds
        self._store: Store | None = None
        self._open_at = 0.0
        self._queue: queue.SimpleQueue[tuple[Callable[[Store], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )

    async def __aenter__(self) -> Self:
        # A daemon thread: a file system that hangs must not delay the end of the process.
        self._thread = threading.Thread(target=self._work, name="gateway store", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, self._bounds.leave)

    async def ask(self, question: Callable[[Store], _T]) -> _T:
        """Call ``question`` on the thread, and return its answer; raises `StoreError`."""
        try:
            async with asyncio.timeout(self._bounds.answer):
                return await asyncio.wrap_future(self._put(question))
        except TimeoutError:
            seconds = self._bounds.answer
            raise StoreError(f"the store did not answer within {seconds:.0f} s") from None

    def tell(self, message: Callable[[Store], None]) -> Future[None]:
        """Call ``message`` on the thread when its turn comes; the caller need not wait for it."""
        return self._put(message)

    def _put(self, question: Callable[[Store], _T]) -> Future[_T]:
        future: Future[_T] = Future()
        if self._queue.qsize() < self._bounds.queue:
            self._queue.put((question, future))
        else:
            future.set_exception(StoreError("the store does not answer"))
        return future

    # On the thread

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            question, future = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                answer = question(self._opened())
            except StoreError as error:
                self._failed(str(error))
                future.set_exception(error)
            except BaseException as error:
                future.set_exception(error)
            else:
                self._worked()
                future.set_result(answer)
        if self._store is not None:
            self._store.close()

    def _opened(self) -> Store:
        if self._store is None:
            if self.error and time.monotonic() < self._open_at:
                raise StoreError(self.error)
            self._open_at = time.monotonic() + self._bounds.reopen
            self._store = self._open()
        return self._store

    def _failed(self, reason: str) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        if self.error is None:
            logger.error(
                "workers cannot agree and no history is kept; sites are served as before: %s",
                reason,
            )
        self.error = reason

    def _worked(self) -> None:
        if self.error is not None:
            logger.warning("the store works again")
            self.error = None
