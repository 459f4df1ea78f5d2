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
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from gateway.execution.seats import Errand, GenerationSeats, Job, Seat, SeatCount, ThreadSeats
from gateway.namespace import frames
from gateway.sites.reporting import Reporter

P = ParamSpec("P")
R = TypeVar("R")

IDLE: Final = 15.0
"""Seconds without use after which a seat is given up, and a thread without seats ends."""
_LOOK: Final = 0.01
"""The shortest time, in seconds, after which an idle thread looks again whether it has to end."""


def _nothing(*_: Any) -> None:
    pass


@dataclass(frozen=True)
class PoolFigures:
    """The state of a pool at one moment, as numbers."""

    threads: int
    """Threads that have not ended."""
    idle: int
    """Threads that have nothing to do."""
    waiting: int
    """Jobs that wait for a thread."""
    seats: int
    """Seats of all generations that count; see `GenerationSeats.may_park`."""


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
        self.workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._waiting: deque[tuple[GenerationSeats, Job]] = deque()

    def alive(self) -> list[threading.Thread]:
        """Return the threads that have not ended."""
        with self.lock:
            return [worker.thread for worker in self.workers]

    def figures(self) -> PoolFigures:
        """Return the state of the pool as numbers. From any thread."""
        with self.lock:
            threads, idle, waiting = len(self.workers), len(self._idle), len(self._waiting)
            return PoolFigures(threads, idle, waiting, self.seats.taken)

    def close(self) -> None:
        """Take no more jobs. The threads end as soon as they are free; nobody waits for them."""
        with self.lock:
            self.closed = True
            self.idle_seconds = 0
            for worker in tuple(self._idle):
                self.take(worker, _nothing)

    # With the lock held

    def run(self, generation: GenerationSeats, job: Job, may_block: bool) -> None:
        """Give ``job`` to a thread, now or when there is one."""
        full = len(self.workers) >= self.limit
        if worker := self._choose(generation, parked=full or not may_block):
            self.take(worker, functools.partial(worker.seats.run, worker, generation, job))
        elif full:
            self._waiting.append((generation, job))
        else:
            worker = _Worker(self, generation, job)
            self.workers.add(worker)
            worker.thread.start()

    def take(self, worker: _Worker, errand: Errand) -> None:
        """Give an idle worker something to do."""
        self._idle.remove(worker)
        worker.give(errand)

    def is_idle(self, worker: _Worker) -> bool:
        """Tell whether ``worker`` waits for something to do."""
        return worker in self._idle

    def next(self, worker: _Worker) -> Errand | None:
        """Return what there is to do for ``worker``; if nothing, it is idle from now on."""
        if worker.inbox:
            return worker.inbox.popleft()
        if self._waiting:
            return functools.partial(worker.seats.run, worker, *self._waiting.popleft())
        self._idle.append(worker)
        return None

    def may_end(self, worker: _Worker) -> bool:
        """End an idle worker, unless it has seats or has just been given something to do."""
        if worker not in self._idle or not worker.seats.vacant:
            return False
        self._idle.remove(worker)
        self.workers.discard(worker)
        return True

    def withdraw(self, generation: GenerationSeats) -> list[Job]:
        """Take back the jobs of a generation that wait for a thread."""
        jobs = [job for owner, job in self._waiting if owner is generation]
        self._waiting = deque(each for each in self._waiting if each[0] is not generation)
        return jobs

    def _choose(self, generation: GenerationSeats, *, parked: bool) -> _Worker | None:
        """Return the worker that became idle last.

        Without ``parked``, workers for which parked jobs wait are left out.
        """
        free = [each for each in reversed(self._idle) if parked or not each.seats.has_parked]
        if not free:
            return None
        if generation in free[0].seats.by_generation or not self.seats.full:
            return free[0]
        # Seats are scarce: where the generation has one already, if anywhere.
        return next((each for each in free if generation in each.seats.by_generation), free[0])


class Threads(Executor):
    """The share of one generation in a pool. The other arguments are those of `GenerationSeats`."""

    def __init__(
        self,
        reporter: Reporter,
        pool: Pool,
        *,
        folder: str | os.PathLike[str] | None = None,
        end: Callable[[], object] = _nothing,
        leave: Callable[[], Any] = _nothing,
        enter: Callable[[Any], object] = _nothing,
    ) -> None:
        self.reporter = reporter
        self._pool = pool
        self._seats = GenerationSeats(
            reporter, pool.seats, folder=folder, end=end, leave=leave, enter=enter
        )

    def run(self, job: Job, *, may_block: bool = False) -> None:
        """Run ``job`` as soon as there is a thread.

        A job that may block gets a thread for which parked jobs wait only if there is no other.
        Raises ``RuntimeError`` after ``shutdown``, and once the pool is closed.
        """
        with self._pool.lock:
            if self._seats.closed or self._pool.closed:
                raise RuntimeError(f"the threads of {self.reporter.site} have been shut down")
            self._pool.run(self._seats, job, may_block)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call ``fn`` on a thread; raises ``RuntimeError`` as `run` does."""
        call = _Call(functools.partial(fn, *args, **kwargs))
        self.run(call)
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs, and give up the seats as they become free."""
        with self._pool.lock:
            cancelled = self._pool.withdraw(self._seats) if cancel_futures else []
            self._seats.close()
        for job in cancelled:
            job.cancel()
        if wait:
            self._seats.join(None)

    def join(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until all seats are given up; false if some are not."""
        return self._seats.join(timeout)

    @property
    def seats(self) -> int:
        """The number of seats."""
        return len(self._seats)


class _Worker:
    """A thread. It is taken from the idle ones with the lock held, and gets one errand then."""

    def __init__(self, pool: Pool, generation: GenerationSeats, job: Job) -> None:
        self.pool = pool
        self.seats = ThreadSeats(pool.seats)
        self.inbox: deque[Errand] = deque()
        self._errand: Errand | None = functools.partial(self.seats.run, self, generation, job)
        self._given = _thread.allocate_lock()
        self._given.acquire()
        self.thread = threading.Thread(target=self._loop, name="gateway worker", daemon=True)

    # With the lock of the pool held

    def give(self, errand: Errand) -> None:
        """Wake the thread with something to do."""
        self._errand = errand
        self._given.release()

    def do(self, errand: Errand) -> None:
        """Run ``errand`` as soon as the thread is free."""
        if self.pool.is_idle(self):
            self.pool.take(self, errand)
        else:
            self.inbox.append(errand)

    # On its thread

    def _loop(self) -> None:
        self.seats.begin()
        while True:
            errand = self._errand
            assert errand is not None, "a worker is woken with something to do"
            job = errand()
            # An idle thread may keep nothing of a request.
            self._errand = errand = None
            self.seats.give_up_old(self.pool.idle_seconds)
            with self.pool.lock:
                self._errand = self.pool.next(self)
                waits = self._errand is None
            if job is not None:
                job.released()  # this often gives the thread its next job
                del job
            if waits and not self._wait():
                return

    def _wait(self) -> bool:
        """Wait for something to do; return false to end."""
        while not self._given.acquire(timeout=max(self.pool.idle_seconds / 3, _LOOK)):
            self.seats.give_up_old(self.pool.idle_seconds)
            with self.pool.lock:
                if self.pool.may_end(self):
                    return False
        return True


def stack_of(ident: int | None) -> str:
    """Return the stack of the thread with this identifier as text; empty if it has ended."""
    with frames.of_all_threads() as innermost:
        frame = innermost.get(ident or 0)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""


class _Call:
    """A plain call as a job, with its result as a future."""

    __slots__ = ("_function", "future")

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function: Callable[[], Any] | None = function
        self.future: Future[Any] = Future()

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

    def parked(self, seat: Seat) -> None:
        raise AssertionError("a plain call never parks")

    def hold(self) -> None:
        raise AssertionError("a plain call never parks")

    def released(self) -> None:
        pass

    def cancel(self) -> None:
        self.future.cancel()
