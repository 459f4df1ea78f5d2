"""The threads that run the code of all sites, and the seats that each site has on them.

What is kept for a thread must neither reach another site nor outlive its generation: context
variables, database connections, the working directory. So each generation has a *seat* on each
thread that it has used: one context for the seat's whole life (a fresh one for each request would
make Django open a cache client for each request), with the thread in the site's folder. A seat that
has not been used for a while is given up, and with it its database connections.

The threads themselves are of all sites. With threads of its own each site's request needs a switch
of threads, and with many sites every request is another site's: on two cores that cost as much as a
small view (docs/performance.md). The thread that became idle last is taken first, so that few of
them run, and few seats have connections.

A job may *park*: it leaves its thread while it waits for a slow client, takes its seat along, and
goes on later on the same thread.

They are daemon threads, so that a view that hangs never blocks the exit of the gateway.
"""

from __future__ import annotations

import _thread
import functools
import os
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import Context
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from gateway.namespace import frames, threadstate
from gateway.namespace.cwd import change_folder, own_folder
from gateway.sites.reporting import Reporter

P = ParamSpec("P")
R = TypeVar("R")

IDLE: Final = 15.0
"""Seconds without use after which a seat is given up, and a thread without seats ends."""
_LOOK: Final = 0.01
"""Seconds, the least, between two looks of an idle thread whether it has to end."""


def _nothing(*_: Any) -> None:
    pass


class Job(Protocol):
    """What a thread does."""

    def run(self) -> bool:
        """Begin or go on, on the thread; true to park. Never raises."""

    def parked(self, seat: Seat) -> None:
        """It has left its thread. ``seat.resume()``, called once, lets it go on."""

    def hold(self) -> None:
        """It may not leave its thread: wait, on the thread, for what it parks for."""

    def released(self) -> None:
        """Its thread is free for others, because it has parked or ended."""

    def cancel(self) -> None:
        """It will never be run."""


class Pool:
    """At most ``limit`` threads, with as many seats at a time as there may be threads.

    ``idle`` is in seconds, see `IDLE`. Whoever has the lock holds it for microseconds.
    """

    def __init__(self, limit: int, *, idle: float = IDLE) -> None:
        self.limit = limit
        self.idle_seconds = idle
        self.closed = False
        self.lock = threading.Lock()
        self.workers: set[_Worker] = set()
        self.seats = 0
        self._idle: list[_Worker] = []
        self._waiting: deque[tuple[Threads, Job]] = deque()

    def alive(self) -> list[threading.Thread]:
        """The threads that have not ended."""
        with self.lock:
            return [worker.thread for worker in self.workers]

    def close(self) -> None:
        """Take no more jobs. The threads end as soon as they are free; nobody waits for them."""
        with self.lock:
            self.closed = True
            self.idle_seconds = 0
            for worker in tuple(self._idle):
                self.take(worker, _nothing)

    # With the lock held

    def run(self, threads: Threads, job: Job, may_block: bool) -> None:
        """Give ``job`` to a thread, now or when there is one."""
        full = len(self.workers) >= self.limit
        if worker := self._choose(threads, parked=full or not may_block):
            self.take(worker, functools.partial(worker.run, threads, job))
        elif full:
            self._waiting.append((threads, job))
        else:
            worker = _Worker(self, threads, job)
            self.workers.add(worker)
            worker.thread.start()

    def take(self, worker: _Worker, errand: Callable[[], Job | None]) -> None:
        """Give an idle worker something to do."""
        self._idle.remove(worker)
        worker.give(errand)

    def is_idle(self, worker: _Worker) -> bool:
        """Whether it waits for something to do."""
        return worker in self._idle

    def next(self, worker: _Worker) -> Callable[[], Job | None] | None:
        """What there is to do for ``worker``; if nothing, it is idle from now on."""
        if worker.inbox:
            return worker.inbox.popleft()
        if self._waiting:
            return functools.partial(worker.run, *self._waiting.popleft())
        self._idle.append(worker)
        return None

    def may_end(self, worker: _Worker) -> bool:
        """End an idle worker, unless it has seats or has just been given something to do."""
        if worker not in self._idle or worker.seats or worker.parked:
            return False
        self._idle.remove(worker)
        self.workers.discard(worker)
        return True

    def withdraw(self, threads: Threads) -> list[Job]:
        """Take back the jobs of a generation that wait for a thread."""
        jobs = [job for owner, job in self._waiting if owner is threads]
        self._waiting = deque(each for each in self._waiting if each[0] is not threads)
        return jobs

    def _choose(self, threads: Threads, *, parked: bool) -> _Worker | None:
        """The worker that became idle last; one that parked jobs wait for only with ``parked``."""
        free = [each for each in reversed(self._idle) if parked or not each.parked]
        if not free:
            return None
        if threads in free[0].seats or self.seats < self.limit:
            return free[0]
        # Seats are scarce: where the generation has one already, if anywhere.
        return next((worker for worker in free if threads in worker.seats), free[0])


class Threads(Executor):
    """One generation's share of a pool, and its seats. ``reporter`` speaks for its site.

    Its jobs run in ``folder``, opened now: they stay in it also when it is renamed or removed.
    ``end`` is called when a seat is given up, on its thread and in its context; ``leave`` takes
    from the thread what belongs to a job that parks but is not in its context (anything false:
    nothing), and ``enter`` puts it back.
    """

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
        self.folder = None if folder is None else os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self.end = end
        self.leave = leave
        self.enter = enter
        self._pool = pool
        self._seats: set[Seat] = set()
        self._closed = False
        self._empty = threading.Event()

    def run(self, job: Job, *, may_block: bool = False) -> None:
        """Run ``job`` as soon as there is a thread.

        Raises ``RuntimeError`` after ``shutdown``, and once the pool is closed.

        One that may block does not get a thread that parked jobs wait for if there is another.
        """
        with self._pool.lock:
            if self._closed or self._pool.closed:
                raise RuntimeError(f"the threads of {self.reporter.site} have been shut down")
            self._pool.run(self, job, may_block)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call ``fn`` on a thread; raises ``RuntimeError`` as `run` does."""
        call = _Call(functools.partial(fn, *args, **kwargs))
        self.run(call)
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs, and give up the seats as they become free."""
        with self._pool.lock:
            self._closed = True
            cancelled = self._pool.withdraw(self) if cancel_futures else []
            for seat in self._seats:
                seat.worker.leave(seat)
            self._note_empty()
        for job in cancelled:
            job.cancel()
        if wait:
            self._empty.wait()

    def join(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until all seats are given up; false if some are not."""
        return self._empty.wait(timeout)

    @property
    def seats(self) -> int:
        """How many seats there are."""
        return len(self._seats)

    # By the workers

    def open(self, worker: _Worker) -> Seat:
        """A new seat on ``worker``."""
        seat = Seat(self, worker)
        with self._pool.lock:
            self._seats.add(seat)
            self._pool.seats += 1
            if self._closed:  # the job had been taken before
                worker.leave(seat)
        return seat

    def close(self, seat: Seat) -> None:
        """Forget a seat that has been given up."""
        with self._pool.lock:
            self._seats.discard(seat)
            self._pool.seats -= seat.counts
            self._note_empty()

    def may_park(self, seat: Seat) -> bool:
        """Whether a job may leave its thread, with its seat.

        A parked seat does not count, unless it has belongings: those are connections, of which
        slow clients must not use up more than threads do.
        """
        with self._pool.lock:
            if seat.belongings and self._pool.seats >= self._pool.limit:
                return False
            if not seat.belongings and seat.counts:
                seat.counts = 0
                self._pool.seats -= 1
            return True

    def _note_empty(self) -> None:
        if self._closed and not self._seats and not self._empty.is_set():
            self._empty.set()
            if self.folder is not None:
                os.close(self.folder)


class Seat:
    """What a generation has on one thread."""

    __slots__ = ("belongings", "context", "counts", "job", "state", "threads", "used", "worker")

    def __init__(self, threads: Threads, worker: _Worker) -> None:
        self.threads = threads
        self.worker = worker
        self.context = Context()
        self.counts = 1
        self.used = 0.0
        self.job: Job | None = None
        self.belongings: Any = None
        self.state: dict[str, Any] = {}
        """See ``namespace.threadstate``; while the thread works for another seat."""

    def resume(self) -> None:
        """Let the parked job go on as soon as its thread is free. From any thread, once."""
        worker = self.worker
        with worker.pool.lock:
            worker.do(functools.partial(worker.resume, self))

    def call(self, hook: Callable[..., Any], *args: Any) -> Any:
        """Call one of the hooks of the generation in the seat's context."""
        try:
            return self.context.run(hook, *args)
        except Exception:
            log = self.threads.reporter.logger("gateway.threads")
            log.exception("a thread could not be prepared or tidied")


class _Worker:
    """A thread. Whoever takes it from the idle ones, with the lock held, gives it one errand."""

    def __init__(self, pool: Pool, threads: Threads, job: Job) -> None:
        self.pool = pool
        self.seats: OrderedDict[Threads, Seat] = OrderedDict()
        """By generation, the one used last at the end; without those of parked jobs."""
        self.inbox: deque[Callable[[], Job | None]] = deque()
        self.parked = 0
        self._last: Seat | None = None
        self._own_folder = False
        self._errand: Callable[[], Job | None] | None = functools.partial(self.run, threads, job)
        self._given = _thread.allocate_lock()
        self._given.acquire()
        self.thread = threading.Thread(target=self._loop, name="gateway worker", daemon=True)

    # With the lock of the pool held

    def give(self, errand: Callable[[], Job | None]) -> None:
        """Wake it with something to do."""
        self._errand = errand
        self._given.release()

    def do(self, errand: Callable[[], Job | None]) -> None:
        """Have it do something as soon as it is free."""
        if self.pool.is_idle(self):
            self.pool.take(self, errand)
        else:
            self.inbox.append(errand)

    def leave(self, seat: Seat) -> None:
        """Have it give up a seat as soon as it is free, if no job has it."""
        self.do(functools.partial(self._give_up, seat))

    # On its thread

    def run(self, threads: Threads, job: Job) -> Job:
        """Run a job, on the generation's seat."""
        seat = self.seats.pop(threads, None) or self._open(threads)
        self._turn_to(seat)
        if self._parks(seat, job):
            seat.job = job
            self.parked += 1
            job.parked(seat)
        else:
            seat.used = time.monotonic()
            self.seats[threads] = seat
        return job

    def resume(self, seat: Seat) -> Job:
        """Let a parked job go on, on its own seat."""
        threads, job = seat.threads, seat.job
        assert job is not None, "only a parked job can be resumed"
        self._turn_to(seat)
        other = self.seats.get(threads)
        others = other.call(threads.leave) if other else None
        seat.call(threads.enter, seat.belongings)
        if self._parks(seat, job):
            job.parked(seat)
        else:
            self.parked -= 1
            seat.job = seat.belongings = None
            self._give_up(seat)
        if other:
            other.call(threads.enter, others)
        return job

    def _parks(self, seat: Seat, job: Job) -> bool:
        while seat.context.run(job.run):
            seat.belongings = seat.call(seat.threads.leave)
            if seat.threads.may_park(seat):
                return True
            seat.call(seat.threads.enter, seat.belongings)
            seat.context.run(job.hold)
        return False

    def _loop(self) -> None:
        self._own_folder = own_folder()
        while True:
            errand = self._errand
            assert errand is not None, "a worker is woken with something to do"
            job = errand()
            # Nothing of a request may live on in an idle thread.
            self._errand = errand = None
            self._give_up_old()
            with self.pool.lock:
                self._errand = self.pool.next(self)
                waits = self._errand is None
            if job is not None:
                job.released()  # may well give this thread its next job
                del job
            if waits and not self._wait():
                return

    def _wait(self) -> bool:
        """Wait for something to do; false to end."""
        while not self._given.acquire(timeout=max(self.pool.idle_seconds / 3, _LOOK)):
            self._give_up_old()
            with self.pool.lock:
                if self.pool.may_end(self):
                    return False
        return True

    def _open(self, threads: Threads) -> Seat:
        if self.pool.seats >= self.pool.limit and self.seats:
            self._give_up(next(iter(self.seats.values())))
        return threads.open(self)

    def _turn_to(self, seat: Seat) -> None:
        # Each time: what ran here last may have gone elsewhere, of this site as of another.
        if self._own_folder and seat.threads.folder is not None:
            change_folder(seat.threads.folder)
        if threadstate.divided and self._last is not seat:
            state = threadstate.take()
            if self._last is not None:
                self._last.state = state
            threadstate.put(seat.state)
            self._last = seat

    def _give_up_old(self) -> None:
        while self.seats:
            seat = next(iter(self.seats.values()))
            if time.monotonic() - seat.used < self.pool.idle_seconds:
                break
            self._give_up(seat)

    def _give_up(self, seat: Seat) -> None:
        if seat.job is not None or seat not in seat.threads._seats:
            return  # a parked job has it, or it has been given up already
        self._turn_to(seat)
        seat.call(seat.threads.end)
        if self._last is seat:
            threadstate.take()
            self._last = None
        if self.seats.get(seat.threads) is seat:
            del self.seats[seat.threads]
        seat.threads.close(seat)


def stack_of(ident: int | None) -> str:
    """Where the thread with this identifier is, as in a traceback; empty if it has ended."""
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
