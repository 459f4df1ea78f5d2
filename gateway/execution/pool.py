"""The threads that run the code of all sites.

All sites share the threads. If each site had threads of its own, the next request would nearly
always need another thread, because with many sites it is for another site. On two cores, these
switches cost as much as a small view (docs/performance.md). The thread that became idle last is
taken first, so that few threads run and few seats have connections. What a generation keeps on a
thread is its seat (`gateway.execution.seats`).

All are daemon threads, so that a view that hangs never blocks the exit of the gateway.
"""

from __future__ import annotations

import _thread
import functools
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from gateway.execution import seats
from gateway.execution.governor import OverloadedError
from gateway.execution.seats import Errand, GenerationSeats, Seat, SeatCount, ThreadSeats
from gateway.namespace import frames, threadstate
from gateway.sites.reporting import Reporter

P = ParamSpec("P")
R = TypeVar("R")

IDLE: Final = 15.0
"""Seconds without use after which a seat is given up, and a thread without seats ends."""
_LOOK: Final = 0.01
"""The shortest time, in seconds, after which an idle thread looks again whether it has to end."""
_MOST_IN_VAIN: Final = 100
"""Exceptions in a row after which a thread does not try again to release what it has done."""

logger = logging.getLogger("gateway.threads")


def _nothing(*_: Any) -> None:
    pass


class UnloadedError(RuntimeError):
    """The code of the site has been unloaded."""


class NoThreadError(OverloadedError):
    """The system gives no thread, and there is none that could be waited for."""


@dataclass(frozen=True)
class PoolFigures:
    """The state of a pool at one moment, as numbers."""

    threads: int
    """Threads that have not ended."""
    idle: int
    """Threads that have nothing to do."""
    waiting: int
    """Errands that wait for a thread."""
    seats: int
    """Seats of all generations that count; see `GenerationSeats.park`."""


class Pool:
    """At most ``limit`` threads, with as many seats at a time as there may be threads.

    ``idle`` is in seconds, as `IDLE` is. The lock is only ever held for microseconds.
    """

    def __init__(self, limit: int, *, idle: float = IDLE) -> None:
        self.limit = limit
        self.idle_seconds = idle
        self.closed = False
        self.lock = threading.Lock()
        self.seats = SeatCount(limit, self.lock)
        self._spare = 0
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._waiting: deque[tuple[GenerationSeats, Errand]] = deque()

    def alive(self) -> list[threading.Thread]:
        """Return the threads that have not ended."""
        with self.lock:
            return [worker.thread for worker in self._workers]

    def allow(self, spare: int) -> None:
        """Allow so many threads more than ``limit`` from now on: as many as hang in sites' code."""
        with self.lock:
            self._spare = spare
            self._start_for_waiting()

    def bury(self) -> None:
        """Give back what threads hold that have ended before their first step.

        A hook that a site has set for all threads (``threading.setprofile``) can end them there.
        """
        with self.lock:
            dead = [worker for worker in self._workers if not worker.thread.is_alive()]
        for worker in dead:
            self.give_back(worker)

    def give_back(self, worker: Worker) -> None:
        """Forget a thread that ends although it should not, and give back what it holds."""
        with self.lock:
            left = self._lost(worker)
            self._start_for_waiting()
        for errand in left:
            errand.fail(RuntimeError("its thread has ended"))
            errand.released()

    def carried(self) -> set[Errand]:
        """Return the errands that a living thread has, and those that wait for a thread."""
        with self.lock:
            errands = {errand for _, errand in self._waiting}
            workers = [(w.thread, (w.errand, w.over, *w.inbox)) for w in self._workers]
        for thread, had in workers:
            if thread.is_alive():
                errands.update(errand for errand in had if errand is not None)
        return errands

    def figures(self) -> PoolFigures:
        """Return the state of the pool as numbers. From any thread."""
        with self.lock:
            threads, idle, waiting = len(self._workers), len(self._idle), len(self._waiting)
            return PoolFigures(threads, idle, waiting, len(self.seats.taken))

    def close(self) -> None:
        """Take no more errands. The threads end as soon as they are free; nobody waits for them."""
        with self.lock:
            self.closed = True
            self.idle_seconds = 0
            for worker in tuple(self._idle):
                self.take(worker, _Nothing())

    # With the lock held

    def run(self, generation: GenerationSeats, errand: Errand) -> None:
        """Give an errand to a thread, now or when there is one; raises `NoThreadError`."""
        full = not self._may_start()
        if worker := self._choose(generation, parked=full):
            self.take(worker, errand)
        elif full:
            self._waiting.append((generation, errand))
        else:
            try:
                self._start(errand)
            except (RuntimeError, MemoryError) as error:  # "can't start new thread"
                if worker := self._choose(generation, parked=True):
                    self.take(worker, errand)
                elif self._workers:
                    self._waiting.append((generation, errand))
                else:
                    raise NoThreadError(str(error)) from error

    def take(self, worker: Worker, errand: Errand) -> None:
        """Give an idle worker something to do."""
        self._idle.remove(worker)
        worker.give(errand)

    def is_idle(self, worker: Worker) -> bool:
        """Tell whether ``worker`` waits for something to do."""
        return worker in self._idle

    def next(self, worker: Worker) -> None:
        """Give ``worker`` what there is to do; if nothing, it is idle from now on."""
        # What is taken out is in a safe place first: an exception may hit a thread anywhere.
        if worker in self._idle:
            return
        if worker.inbox:
            worker.errand = worker.inbox[0]
            worker.inbox.popleft()
        elif self._waiting:
            worker.errand = self._waiting[0][1]
            self._waiting.popleft()
        else:
            self._idle.append(worker)

    def may_end(self, worker: Worker) -> bool:
        """End an idle worker, unless it has seats or has just been given something to do."""
        if worker not in self._idle or not worker.seats.vacant:
            return False
        self._idle.remove(worker)
        self._workers.discard(worker)
        return True

    def _lost(self, worker: Worker) -> list[Errand]:
        """Forget a thread; return what it has not done."""
        if worker in self._idle:
            self._idle.remove(worker)
        self._workers.discard(worker)
        left = [each for each in (worker.errand, worker.over, *worker.inbox) if each is not None]
        worker.inbox.clear()
        return left

    def withdraw(self, generation: GenerationSeats) -> list[Errand]:
        """Take back the errands of a generation that wait for a thread."""
        errands = [errand for owner, errand in self._waiting if owner is generation]
        self._waiting = deque(each for each in self._waiting if each[0] is not generation)
        return errands

    def _start_for_waiting(self) -> None:
        """Start threads for the errands that wait; if the system gives none, they go on to wait."""
        with suppress(RuntimeError, MemoryError):
            while self._waiting and self._may_start():
                self._start(self._waiting[0][1])
                self._waiting.popleft()

    def _may_start(self) -> bool:
        return len(self._workers) < self.limit + self._spare

    def _start(self, errand: Errand) -> None:
        """Start a thread; it counts only once it runs."""
        worker = Worker(self, errand)
        self._workers.add(worker)
        try:
            worker.thread.start()
        except BaseException:
            self._workers.discard(worker)
            raise

    def _choose(self, generation: GenerationSeats, *, parked: bool) -> Worker | None:
        """Return the worker that became idle last.

        Without ``parked``, workers for which parked jobs wait are left out.
        """
        free = None
        for worker in reversed(self._idle):
            if worker.seats.parked and not parked:
                continue
            # Where seats are scarce, one on which the generation has a seat already, if any.
            if generation in worker.seats.by_generation or not self.seats.full:
                return worker
            free = free or worker
        return free


class Threads(Executor):
    """The share of one generation in a pool. The other arguments are those of `GenerationSeats`."""

    def __init__(
        self,
        reporter: Reporter,
        pool: Pool,
        *,
        name: str = "",
        folder: str | os.PathLike[str] | None = None,
        end: Callable[[], object] = _nothing,
        end_of: Callable[[int], object] = _nothing,
        leave: Callable[[], Any] = _nothing,
        enter: Callable[[Any], object] = _nothing,
    ) -> None:
        self.reporter = reporter
        self._pool = pool
        self.generation = GenerationSeats(
            reporter,
            pool.seats,
            name=name,
            folder=folder,
            end=end,
            end_of=end_of,
            leave=leave,
            enter=enter,
        )

    def run(self, errand: Errand) -> None:
        """Have an errand performed as soon as there is a thread.

        Raises `UnloadedError` after ``shutdown``, and once the pool is closed, and `NoThreadError`.
        A thread that parked jobs wait for is taken only if there can be no other.
        """
        with self._pool.lock:
            if self.generation.closed or self._pool.closed:
                raise UnloadedError(f"the threads of {self.reporter.site} have been shut down")
            self._pool.run(self.generation, errand)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call ``fn`` on a thread; raises as `run` does."""
        call = _Call(self.generation, functools.partial(fn, *args, **kwargs))
        self.run(call)
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more errands, and give up the seats as they become free."""
        with self._pool.lock:
            cancelled = self._pool.withdraw(self.generation) if cancel_futures else []
            self.generation.close()
        for errand in cancelled:
            errand.fail(UnloadedError("the code of the site was unloaded"))
            errand.released()
        if wait:
            self.generation.join(None)

    def join(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until all seats are given up; false if some are not."""
        return self.generation.join(timeout)

    def when_empty(self, function: Callable[[], object]) -> None:
        """See `GenerationSeats.when_empty`."""
        self.generation.when_empty(function)

    @property
    def seats(self) -> int:
        """The number of seats."""
        return len(self.generation)


class Worker:
    """A thread. Whoever takes it from the idle ones, with the lock held, gives it one errand.

    It never ends by an exception. Its own code raises none, but a site may have aimed one at the
    thread (``PyThreadState_SetAsyncExc``, as time-out decorators use it) that comes only when the
    thread is at something else. So what it has to do stands in attributes, and each step can be
    done again: an errand in ``errand`` has not been performed to its end, one in ``over`` has, and
    is still to be released.
    """

    def __init__(self, pool: Pool, errand: Errand) -> None:
        self.pool = pool
        self.seats = ThreadSeats(pool.seats)
        self.inbox: deque[Errand] = deque()
        self.errand: Errand | None = errand
        self.over: Errand | None = None
        self._given = _thread.allocate_lock()
        self._given.acquire()
        self.thread = threadstate.Thread(target=self._loop, name="gateway worker", daemon=True)

    # With the lock of the pool held

    def give(self, errand: Errand) -> None:
        """Wake it with something to do."""
        self.errand = errand
        if self._given.locked():  # else it has not come to wait since it was given the last one
            self._given.release()

    def do(self, errand: Errand) -> None:
        """Run ``errand`` as soon as the thread is free."""
        if self.pool.is_idle(self):
            self.pool.take(self, errand)
        else:
            self.inbox.append(errand)

    # On its thread

    def _loop(self) -> None:
        late: BaseException | None = None
        in_vain = 0
        goes_on = True
        try:
            self.seats.begin()
            while goes_on:
                try:
                    if late is not None:
                        name, late = type(late).__name__, None
                        logger.error("%s was raised in a thread that had nothing to do", name)
                    goes_on = self._step()
                    in_vain = 0
                except BaseException as error:
                    late = error
                    in_vain += 1
                    if in_vain > _MOST_IN_VAIN:  # a defect, and nobody's exceptions
                        self.over = None
        finally:
            self.seats.finish()
            if goes_on:
                self.pool.give_back(self)

    def _step(self) -> bool:
        """Do what there is to do, or wait for it; return false to end."""
        if self.errand is not None:
            try:
                self.errand.perform(self)
            except BaseException as error:
                self.errand.fail(error)
                raise
            finally:
                self.over, self.errand = self.errand, None
        if self.over is not None:
            self._release(self.over)
            return True
        return self._wait()

    def _release(self, errand: Errand) -> None:
        try:
            self.seats.give_up_old(self.pool.idle_seconds)
        finally:
            with self.pool.lock:
                if self.errand is None:
                    self.pool.next(self)
            errand.released()  # may well give this thread its next errand
            # Nothing of a request may live on in an idle thread.
            self.over = None

    def _wait(self) -> bool:
        """Wait for something to do; return false to end."""
        while self.errand is None:
            if self._given.acquire(timeout=max(self.pool.idle_seconds / 3, _LOOK)):
                continue
            self.seats.give_up_old(self.pool.idle_seconds)
            with self.pool.lock:
                if self.pool.may_end(self):
                    return False
                if self.errand is None:
                    self.pool.next(self)
        return True


def stack_of(ident: int | None) -> str:
    """Return the stack of the thread with this identifier as text; empty if it has ended.

    As in a traceback, the innermost frame is the last; see `frames.places` on what is left out.
    """
    with frames.of_all_threads() as innermost:
        places = frames.places(innermost.get(ident or 0))
    return "".join(
        f'  File "{place.file}", line {place.line}, in {place.name}\n' for place in reversed(places)
    )


class _Call:
    """A plain call as a job and its errand, with its result as a future."""

    __slots__ = ("_function", "_seats", "future", "seat")

    def __init__(self, seats: GenerationSeats, function: Callable[[], Any]) -> None:
        self._seats = seats
        self._function: Callable[[], Any] | None = function
        self.future: Future[Any] = Future()
        self.seat: Seat | None = None

    def perform(self, worker: seats.Worker) -> None:
        worker.seats.run(worker, self._seats, self)

    def run(self) -> bool:
        function, self._function = self._function, None
        if function is not None and self.future.set_running_or_notify_cancel():
            try:
                result = function()
            except BaseException as exc:  # a site's SystemExit belongs to its request
                self.future.set_exception(exc)
            else:
                self.future.set_result(result)
        return False

    def fail(self, error: BaseException) -> None:
        if not self.future.cancel() and not self.future.done():
            self.future.set_exception(error)

    def released(self) -> None:
        pass


class _Nothing:
    """An errand that only wakes a thread."""

    def perform(self, worker: seats.Worker) -> None:
        pass

    def fail(self, error: BaseException) -> None:
        pass

    def released(self) -> None:
        pass
