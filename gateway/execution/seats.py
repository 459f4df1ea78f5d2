"""The seats that each generation has on the threads of the pool.

Context variables, database connections and the working directory are kept for each thread. They
must neither reach another site nor outlive their generation. So each generation has a *seat* on
each thread that it has used. A seat has one context for its whole life, because a fresh one for
each request would make Django open a cache client for each request. While a seat is in use, its
thread is in the folder of the site. A seat that has not been used for a while is given up, and with
it its database connections.

A job may *park*: it leaves its thread while it waits for a slow client, takes its seat along, and
goes on later on the same thread.

Nothing here knows of queues or of when a thread has time; that is `gateway.execution.pool`.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol, TypeAlias

from gateway.namespace import threadstate
from gateway.namespace.cwd import change_folder, own_folder
from gateway.sites.reporting import Reporter


class Job(Protocol):
    """Something that a thread runs for a generation."""

    def run(self) -> bool:
        """Begin or go on, on the thread; return true to park. Never raises."""

    def parked(self, seat: Seat) -> None:
        """Note that the job has left its thread. ``seat.resume()``, called once, lets it go on."""

    def hold(self) -> None:
        """Wait on the thread for what the job parks for: it may not leave its thread."""

    def released(self) -> None:
        """Note that the thread is free for others, because the job has parked or ended."""

    def cancel(self) -> None:
        """Note that the job will never be run."""


Errand: TypeAlias = Callable[[], Job | None]
"""Something to do on a thread; returns the job that has parked or ended by it, if one has."""


class Worker(Protocol):
    """A thread of the pool, as its seats see it."""

    seats: ThreadSeats

    def do(self, errand: Errand) -> None:
        """Run ``errand`` as soon as the thread is free. The lock of the pool is held."""


class SeatCount:
    """The number of seats of all generations. ``lock`` is that of the pool.

    ``limit`` is how many there may be before unused ones have to make room. It is no strict bound:
    a thread with a job always gets a seat.
    """

    def __init__(self, limit: int, lock: threading.Lock) -> None:
        self.limit = limit
        self.lock = lock
        self.taken = 0

    @property
    def full(self) -> bool:
        """Tell whether there are as many seats as there may be."""
        return self.taken >= self.limit


class GenerationSeats:
    """The seats of one generation on all threads. ``reporter`` speaks for its site.

    Its jobs run in ``folder``, which is opened now: they stay in it when it is renamed or removed.
    ``end`` is called when a seat is given up, on its thread and in its context. When a job parks,
    ``leave`` takes from the thread the belongings of the job that are not in its context, and
    returns them (something false if there are none); ``enter`` puts them back.
    """

    def __init__(
        self,
        reporter: Reporter,
        count: SeatCount,
        *,
        folder: str | os.PathLike[str] | None,
        end: Callable[[], object],
        leave: Callable[[], Any],
        enter: Callable[[Any], object],
    ) -> None:
        self.reporter = reporter
        self.folder = None if folder is None else os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self.end = end
        self.leave = leave
        self.enter = enter
        self.lock = count.lock
        self.closed = False
        self._count = count
        self._seats: set[Seat] = set()
        self._empty = threading.Event()

    def __len__(self) -> int:
        return len(self._seats)

    def __contains__(self, seat: Seat) -> bool:
        return seat in self._seats

    def close(self) -> None:
        """Give up the seats as they become free. The lock of the pool is held."""
        self.closed = True
        for seat in self._seats:
            seat.leave()
        self._note_empty()

    def join(self, timeout: float | None) -> bool:
        """Wait up to ``timeout`` seconds until all seats are given up; false if some are not."""
        return self._empty.wait(timeout)

    # By the threads

    def open(self, worker: Worker) -> Seat:
        """Make a new seat on ``worker``."""
        seat = Seat(self, worker)
        with self.lock:
            self._seats.add(seat)
            self._count.taken += 1
            if self.closed:  # the job was taken by a thread before the generation was closed
                seat.leave()
        return seat

    def forget(self, seat: Seat) -> None:
        """Forget a seat that has been given up."""
        with self.lock:
            self._seats.discard(seat)
            self._count.taken -= seat.counts
            self._note_empty()

    def may_park(self, seat: Seat) -> bool:
        """Tell whether a job may leave its thread, with its seat.

        A parked seat does not count, unless it has belongings: those are connections, of which
        slow clients must not use up more than threads do.
        """
        with self.lock:
            if seat.belongings and self._count.full:
                return False
            if not seat.belongings and seat.counts:
                seat.counts = 0
                self._count.taken -= 1
            return True

    def _note_empty(self) -> None:
        if self.closed and not self._seats and not self._empty.is_set():
            self._empty.set()
            if self.folder is not None:
                os.close(self.folder)


class Seat:
    """The place of a generation on one thread: a context, connections, a working directory."""

    __slots__ = ("belongings", "context", "counts", "generation", "job", "state", "used", "worker")

    def __init__(self, generation: GenerationSeats, worker: Worker) -> None:
        self.generation = generation
        self.worker = worker
        self.context = Context()
        self.counts = 1
        self.used = 0.0
        self.job: Job | None = None
        self.belongings: Any = None
        self.state: dict[str, Any] = {}
        """The state of ``namespace.threadstate``, while the thread works for another seat."""

    def resume(self) -> None:
        """Let the parked job go on as soon as its thread is free. From any thread, once."""
        with self.generation.lock:
            self.worker.do(functools.partial(self.worker.seats.resume, self))

    def leave(self) -> None:
        """Give up the seat as soon as its thread is free, if no job has it. The lock is held."""
        self.worker.do(functools.partial(self.worker.seats.give_up, self))

    def call(self, hook: Callable[..., Any], *args: Any) -> Any:
        """Call one of the hooks of the generation in the context of the seat."""
        try:
            return self.context.run(hook, *args)
        except Exception:
            log = self.generation.reporter.logger("gateway.threads")
            log.exception("a thread could not be prepared or tidied")


class ThreadSeats:
    """The seats on one thread. Other threads may only look, with the lock of the pool held."""

    def __init__(self, count: SeatCount) -> None:
        self.by_generation: OrderedDict[GenerationSeats, Seat] = OrderedDict()
        """The seat of each generation, the one used last at the end; none of parked jobs."""
        self._count = count
        self._parked = 0
        self._last: Seat | None = None
        self._own_folder = False

    @property
    def has_parked(self) -> bool:
        """Tell whether parked jobs will come back to this thread."""
        return self._parked > 0

    @property
    def vacant(self) -> bool:
        """Tell whether there are none, not even of parked jobs: then the thread may end."""
        return not self.by_generation and not self._parked

    def begin(self) -> None:
        """Give the thread a working directory of its own, where the system can."""
        self._own_folder = own_folder()

    def run(self, worker: Worker, generation: GenerationSeats, job: Job) -> Job:
        """Run a job on the seat of its generation, which is made if there is none."""
        seat = self.by_generation.pop(generation, None) or self._open(worker, generation)
        self._turn_to(seat)
        if self._parks(seat, job):
            seat.job = job
            self._parked += 1
            job.parked(seat)
        else:
            seat.used = time.monotonic()
            self.by_generation[generation] = seat
        return job

    def resume(self, seat: Seat) -> Job:
        """Let a parked job go on, on its own seat."""
        generation, job = seat.generation, seat.job
        assert job is not None, "only a parked job can be resumed"
        self._turn_to(seat)
        other = self.by_generation.get(generation)
        others = other.call(generation.leave) if other else None
        seat.call(generation.enter, seat.belongings)
        if self._parks(seat, job):
            job.parked(seat)
        else:
            self._parked -= 1
            seat.job = seat.belongings = None
            self.give_up(seat)
        if other:
            other.call(generation.enter, others)
        return job

    def give_up_old(self, idle: float) -> None:
        """Give up the seats that have not been used for ``idle`` seconds."""
        while self.by_generation:
            seat = next(iter(self.by_generation.values()))
            if time.monotonic() - seat.used < idle:
                break
            self.give_up(seat)

    def give_up(self, seat: Seat) -> None:
        """Give up a seat, unless a parked job has it or it has been given up already."""
        generation = seat.generation
        if seat.job is not None or seat not in generation:
            return
        self._turn_to(seat)
        seat.call(generation.end)
        if self._last is seat:
            threadstate.take()
            self._last = None
        if self.by_generation.get(generation) is seat:
            del self.by_generation[generation]
        generation.forget(seat)

    def _open(self, worker: Worker, generation: GenerationSeats) -> Seat:
        if self._count.full and self.by_generation:
            self.give_up(next(iter(self.by_generation.values())))
        return generation.open(worker)

    def _parks(self, seat: Seat, job: Job) -> bool:
        generation = seat.generation
        while seat.context.run(job.run):
            seat.belongings = seat.call(generation.leave)
            if generation.may_park(seat):
                return True
            seat.call(generation.enter, seat.belongings)
            seat.context.run(job.hold)
        return False

    def _turn_to(self, seat: Seat) -> None:
        # Each time: the last job, of this site or another, may have changed the folder.
        folder = seat.generation.folder
        if self._own_folder and folder is not None:
            change_folder(folder)
        if threadstate.divided and self._last is not seat:
            state = threadstate.take()
            if self._last is not None:
                self._last.state = state
            threadstate.put(seat.state)
            self._last = seat
