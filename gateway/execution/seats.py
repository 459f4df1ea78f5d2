"""The seats that each generation has on the threads of the pool.

Context variables, database connections and the working directory are kept for each thread. They
must neither reach another site nor outlive their generation. So each generation has a *seat* on
each thread that it has used. A seat has one context for its whole life, because a fresh one for
each request would make Django open a cache client for each request. While a seat is in use, its
thread is in the folder of the site. A seat that has not been used for a while is given up, and with
it its database connections. A closed generation does not wait for threads that are busy with
others: its idle seats on them are taken over by the thread that waits for its end.

A job may *park*: it leaves its thread while it waits for a slow client, takes its seat along, and
goes on later on the same thread.

Nothing here knows of queues or of when a thread has time; that is `gateway.execution.pool`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, Protocol

from gateway.errors import FolderError
from gateway.namespace import slots, threadstate
from gateway.namespace.cwd import change_folder, own_folder
from gateway.sites.reporting import Reporter

_SOON: Final = 1.0
"""Seconds that a thread has to give up a seat itself, before it is taken over."""


class Job(Protocol):
    """Something to run on a seat."""

    seat: Seat | None
    """The seat with which it has parked."""

    def run(self) -> bool:
        """Begin or go on, on the thread; return true to park."""


class Errand(Protocol):
    """Something to do on a thread of the pool."""

    def perform(self, worker: Worker) -> None:
        """Do it, on the thread of ``worker``."""

    def fail(self, error: BaseException) -> None:
        """Note that it came to nothing: ``error`` hit its thread, or it will not be performed."""

    def released(self) -> None:
        """Note that the thread is free for others, or that there was none. May be called twice."""


class Worker(Protocol):
    """A thread of the pool, as its seats see it."""

    seats: ThreadSeats

    @property
    def thread(self) -> threading.Thread:
        """The thread."""

    def do(self, errand: Errand) -> None:
        """Perform ``errand`` as soon as the thread is free. The lock of the pool is held."""


class SeatCount:
    """The number of seats of all generations. ``lock`` is that of the pool.

    ``limit`` is how many there may be before unused ones have to make room. It is no strict bound:
    a thread with a job always gets a seat.
    """

    def __init__(self, limit: int, lock: threading.Lock) -> None:
        self.limit = limit
        self.lock = lock
        self.taken: set[Seat] = set()

    @property
    def full(self) -> bool:
        """Tell whether there are as many seats as there may be."""
        return len(self.taken) >= self.limit


class GenerationSeats:
    """The seats of one generation on all threads. ``reporter`` speaks for its site.

    ``name`` is what its threads show in their slots (`gateway.namespace.slots`).
    Its jobs run in ``folder``, which is opened now: they stay in it when it is renamed or removed.
    ``end`` is called when a seat is given up, on its thread and in its context. If that thread is
    busy, another one calls ``end_of`` instead, with the identifier of the thread of the seat.
    When a job parks, ``leave`` takes from the thread the belongings of the job that are not in its
    context, and returns them (something false if there are none); ``enter`` puts them back.
    """

    def __init__(
        self,
        reporter: Reporter,
        count: SeatCount,
        *,
        name: str,
        folder: str | os.PathLike[str] | None,
        end: Callable[[], object],
        end_of: Callable[[int], object],
        leave: Callable[[], Any],
        enter: Callable[[Any], object],
    ) -> None:
        self.reporter = reporter
        self.name = name
        self.shown = slots.shown(name)
        self.end = end
        self.end_of = end_of
        self.leave = leave
        self.enter = enter
        self.lock = count.lock
        self.closed = False
        self._closed_at = 0.0
        self._count = count
        self._seats: set[Seat] = set()
        self._empty = threading.Event()
        self._emptied: Callable[[], object] | None = None
        self.folder = None if folder is None else os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def __len__(self) -> int:
        return len(self._seats)

    def __contains__(self, seat: Seat) -> bool:
        return seat in self._seats

    def close(self) -> None:
        """Give up the seats as they become free. The lock of the pool is held."""
        self.closed = True
        self._closed_at = time.monotonic()
        for seat in self._seats:
            seat.leave()
        self._note_empty()

    def join(self, timeout: float | None) -> bool:
        """Wait up to ``timeout`` seconds until all seats are given up; false if some are not.

        Those that no job has are taken over from threads that do not come to it soon.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not self._empty.wait(_SOON if end is None else min(_SOON, end - time.monotonic())):
            if time.monotonic() - self._closed_at >= _SOON:
                self._take_over()
            if end is not None and time.monotonic() >= end:
                return self._empty.is_set()
        return True

    def when_empty(self, function: Callable[[], object]) -> None:
        """Call ``function`` once all seats of a closed generation are given up, on some thread."""
        with self.lock:
            empty = self._empty.is_set()
            if not empty:
                self._emptied = function
        if empty:
            function()

    def _take_over(self) -> None:
        """Give up the seats that no job has, on the calling thread."""
        with self.lock:
            taken = [seat for seat in self._seats if seat.worker.seats.claim(seat)]
            # From now on their threads take them for given up.
            self._seats.difference_update(taken)
        for seat in taken:
            try:
                with slots.working_for(self.name):
                    seat.call(self.end_of, seat.worker.thread.ident)
            finally:
                self.forget(seat)

    # By the threads

    def open(self, worker: Worker) -> Seat:
        """Make a new seat on ``worker``."""
        seat = Seat(self, worker)
        with self.lock:
            self._seats.add(seat)
            self._count.taken.add(seat)
            if self.closed:  # the job had been taken before
                seat.leave()
        return seat

    def forget(self, seat: Seat) -> None:
        """Forget a seat that has been given up."""
        with self.lock:
            self._seats.discard(seat)
            self._count.taken.discard(seat)
            self._note_empty()
            emptied = None
            if self._empty.is_set():
                emptied, self._emptied = self._emptied, None
        if emptied is not None:
            emptied()

    def park(self, seat: Seat) -> None:
        """Count a seat that has left its thread no more, unless it has connections."""
        with self.lock:
            if not seat.belongings:
                self._count.taken.discard(seat)

    def _note_empty(self) -> None:
        if self.closed and not self._seats and not self._empty.is_set():
            self._empty.set()
            if self.folder is not None:
                os.close(self.folder)


class Seat:
    """The place of a generation on one thread: a context, connections, a working directory."""

    __slots__ = (
        "__weakref__",
        "belongings",
        "context",
        "generation",
        "parked",
        "taken",
        "used",
        "worker",
    )

    def __init__(self, generation: GenerationSeats, worker: Worker) -> None:
        self.generation = generation
        self.worker = worker
        self.context = Context()
        self.used = 0.0
        self.parked = False
        self.belongings: Any = None
        self.taken: threadstate.Taken | None = None
        """What was taken from the thread when it turned to another seat."""

    def resume(self, errand: Errand) -> None:
        """Have the parked job go on by ``errand`` as soon as its thread is free."""
        with self.generation.lock:
            self.worker.do(errand)

    def leave(self) -> None:
        """Give up the seat as soon as its thread is free, if no job has it. The lock is held."""
        self.worker.do(_GiveUp(self))

    def call(self, hook: Callable[..., Any], *args: Any) -> Any:
        """Call one of the hooks of the generation in the context of the seat."""
        try:
            return self.context.run(hook, *args)
        except BaseException:  # closing a connection may call sys.exit() for all we know
            log = self.generation.reporter.logger("gateway.threads")
            log.exception("a thread could not be prepared or tidied")


class ThreadSeats:
    """The seats on one thread. Other threads may look and `claim`, with the lock of the pool held.

    Whoever takes a seat out of ``by_generation`` has it: one operation of a dictionary is atomic.
    """

    def __init__(self, count: SeatCount) -> None:
        self.by_generation: OrderedDict[GenerationSeats, Seat] = OrderedDict()
        """The seat of each generation, the one used last at the end; none of parked jobs."""
        self.parked = 0
        """The number of parked jobs that will come back to this thread."""
        self._count = count
        self._last: Seat | None = None
        self._slot: slots.Slot | None = None
        self._state: threadstate.State
        self._own_folder = False

    @property
    def vacant(self) -> bool:
        """Tell whether there are none, not even of parked jobs: then the thread may end."""
        return not self.by_generation and not self.parked

    def claim(self, seat: Seat) -> bool:
        """Take a seat that no job has, to give it up; false if it is not there."""
        if self.by_generation.get(seat.generation) is not seat:
            return False
        # Its thread may have taken it meanwhile; another cannot have come.
        return self.by_generation.pop(seat.generation, None) is not None

    def begin(self) -> None:
        """Give the thread a slot and, where the system can, a working directory of its own."""
        self._slot = slots.Slot()
        self._state = threadstate.of_this_thread()
        self._own_folder = own_folder()
        self._state.own_umask = self._own_folder and sys.platform == "linux"

    def finish(self) -> None:
        """Give back what `begin` has taken, at the end of the thread."""
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.give_back()

    def run(self, worker: Worker, generation: GenerationSeats, job: Job) -> None:
        """Run a job on the seat of its generation, which is made if there is none.

        Raises what the job raises, and `FolderError`.
        """
        seat = self.by_generation.pop(generation, None) or self._open(worker, generation)
        try:
            self._perform(seat, job)
        finally:
            if not seat.parked:
                seat.used = time.monotonic()
                self.by_generation[generation] = seat

    def resume(self, job: Job) -> None:
        """Let a parked job go on, on its own seat; raises what `run` does."""
        seat, job.seat = job.seat, None
        assert seat is not None, "only a parked job can be resumed"
        generation = seat.generation
        other = self.by_generation.pop(generation, None)
        try:
            others = other.call(generation.leave) if other else None
            self._unpark(seat)
            try:
                self._perform(seat, job)
            finally:
                if not seat.parked:
                    self.give_up(seat)
                if other:
                    other.call(generation.enter, others)
        finally:
            if other:
                self.by_generation[generation] = other

    def give_up_old(self, idle: float) -> None:
        """Give up the seats that have not been used for ``idle`` seconds."""
        while (seat := self._oldest()) and time.monotonic() - seat.used >= idle:
            self.give_up(seat)

    def forget_taken_over(self) -> None:
        """Let go of the seat that the thread was at last, if another thread has given it up."""
        if self._last is not None and self._last not in self._last.generation:
            self._forget_last()

    def _oldest(self) -> Seat | None:
        """Return the seat that has not been used for longest."""
        try:
            return next(iter(self.by_generation.values()), None)
        except RuntimeError:  # another thread has claimed one
            return None

    def give_up(self, seat: Seat) -> None:
        """Give up a seat, unless a parked job has it or it has been given up already."""
        generation = seat.generation
        with generation.lock:
            if seat.parked or seat not in generation:
                return
            idle = self.claim(seat)
        try:
            self._give_up(seat)
        except BaseException:  # aimed at the thread by a site
            if idle and seat in generation:
                self.by_generation[generation] = seat
            raise

    def _give_up(self, seat: Seat) -> None:
        generation = seat.generation
        try:
            self._turn_to(seat)
        except FolderError as error:
            log = generation.reporter.logger("gateway.threads")
            log.warning("connections are closed elsewhere: %s", error)
        seat.call(generation.end)
        if self._state.noted:
            self._state.put_back()
        if self._last is seat:
            self._forget_last()
        generation.forget(seat)

    def _forget_last(self) -> None:
        self._state.take()
        if self._slot is not None:
            self._slot.show(slots.NOBODY)
        self._last = None

    def _perform(self, seat: Seat, job: Job) -> None:
        self._turn_to(seat)
        try:
            parks = seat.context.run(job.run)
        finally:
            if self._state.noted:
                self._state.put_back()
        if parks:
            self._park(seat, job)

    def _open(self, worker: Worker, generation: GenerationSeats) -> Seat:
        if self._count.full and (oldest := self._oldest()):
            self.give_up(oldest)
        return generation.open(worker)

    def _park(self, seat: Seat, job: Job) -> None:
        generation = seat.generation
        job.seat = seat
        seat.belongings = seat.call(generation.leave)
        generation.park(seat)
        seat.parked = True
        self.parked += 1

    def _unpark(self, seat: Seat) -> None:
        self.parked -= 1
        seat.parked = False
        belongings, seat.belongings = seat.belongings, None
        seat.call(seat.generation.enter, belongings)

    def _turn_to(self, seat: Seat) -> None:
        # Each time: the last job, of this site or another, may have changed the folder.
        folder = seat.generation.folder
        if self._own_folder and folder is not None:
            try:
                change_folder(folder)
            except OSError as error:
                words = f"the folder of the site cannot be entered: {error.strerror}"
                raise FolderError(words) from None
        if self._last is not seat:
            if self._slot is not None:
                self._slot.show(seat.generation.shown)
            if self._state.changed or threadstate.divided:
                taken = self._state.take()
                if self._last is not None:
                    self._last.taken = taken
            if seat.taken is not None:
                taken, seat.taken = seat.taken, None
                self._state.put(taken)
            self._last = seat


class _GiveUp:
    """The errand of giving up a seat. A thread that never comes to it holds nothing by it."""

    __slots__ = ("_seat",)

    def __init__(self, seat: Seat) -> None:
        self._seat = weakref.ref(seat)

    def perform(self, worker: Worker) -> None:
        seat = self._seat()
        if seat is not None:
            worker.seats.give_up(seat)
        worker.seats.forget_taken_over()

    def fail(self, error: BaseException) -> None:
        pass

    def released(self) -> None:
        pass
