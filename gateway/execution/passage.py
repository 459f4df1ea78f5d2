"""The passage of one request, from its admission to its end, and all that it takes on the way.

A passage takes a place with the governor, a thread of the pool and a seat on that thread. It alone
gives them back, whatever raises: the errand on the thread is released by the thread in a
``finally`` around all of it (`gateway.execution.pool`), and what cannot begin is failed and
released where that is found out.

The stages, and what leads from one to the next:

- ``new`` → *enter* → ``queued`` with the governor → *admit* → ``admitted``: it has a place, and
  waits for a thread → *begin* → ``running`` → *end* → ``over``.
- ``running`` → *park* → ``parked``: it has left its thread to wait for its client, and gave its
  place back, or holds it if it has connections. *enter* brings it back into the queue, for the same
  thread and seat.
- ``queued`` and ``admitted`` may *end* at once: nobody waits any more, there is no thread, or the
  code of the site is unloaded.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol

from gateway.execution.governor import Account, Governor, Lane, OverloadedError, Route, Ticket
from gateway.execution.loop_queue import LoopQueue
from gateway.execution.pool import Threads
from gateway.execution.seats import Seat, Worker
from gateway.sites.generation import Hung


class Stage(StrEnum):
    """Where a request is on its way."""

    NEW = "new"
    QUEUED = "queued"
    ADMITTED = "admitted"
    RUNNING = "running"
    PARKED = "parked"
    OVER = "over"


class IllegalStepError(AssertionError):
    """A step that does not lead anywhere from the present stage: a defect of the gateway."""


class Step(dict[Stage, Stage]):
    """To which stage a step leads from which; `IllegalStepError` is raised for others.

    Each request takes four or more, so one costs no more than to look into a dictionary.
    """

    def __missing__(self, stage: Stage) -> Stage:
        raise IllegalStepError(f"no step from {stage} leads to {', '.join({*self.values()})}")


ENTER: Final = Step({Stage.NEW: Stage.QUEUED, Stage.PARKED: Stage.QUEUED})
ADMIT: Final = Step({Stage.QUEUED: Stage.ADMITTED})
BEGIN: Final = Step({Stage.ADMITTED: Stage.RUNNING})
PARK: Final = Step({Stage.RUNNING: Stage.PARKED})
END: Final = Step(dict.fromkeys((Stage.QUEUED, Stage.ADMITTED, Stage.RUNNING), Stage.OVER))


class Job(Protocol):
    """The work of a request: an application, and what comes of it."""

    told: bool
    """True when the log has said where its code is."""

    def run(self) -> bool:
        """Begin or go on, on the thread; return true to park."""

    def abort(self, error: BaseException) -> None:
        """End with ``error``, if it has not ended. On its thread, or before it has begun."""

    def parked(self) -> None:
        """Note that the job has left its thread; `Passage.go_on`, called once, lets it go on."""

    def hangs(self, now: float) -> bool:
        """Tell whether it has run for so long that nothing is to be expected of it."""

    def hung(self, now: float) -> Hung:
        """Return what it is and where it is, for people."""


class _Over:
    """The job of a passage that is over."""

    told = True

    def run(self) -> bool:
        return False

    def abort(self, error: BaseException) -> None:
        pass

    def parked(self) -> None:
        pass

    def hangs(self, now: float) -> bool:
        return False

    def hung(self, now: float) -> Hung:
        return Hung("a request that is over", 0.0, "")


_OVER: Final = _Over()


class Passage:
    """The way of one request. It is the governor's `Work` and an errand of the pool.

    `enter`, `withdraw` and `go_on` are called on the event loop, `go_on` on the thread as well.
    """

    __slots__ = (
        "__weakref__",
        "_governor",
        "_loop_queue",
        "job",
        "route",
        "run",
        "seat",
        "stage",
        "threads",
        "ticket",
    )

    def __init__(
        self,
        account: Account,
        route: Route,
        threads: Threads,
        governor: Governor,
        loop_queue: LoopQueue,
    ) -> None:
        self.threads = threads
        self.route = route
        self.ticket = Ticket(account, route)
        self.stage = Stage.NEW
        self.seat: Seat | None = None
        """The seat that a parked job has kept."""
        self._governor = governor
        self._loop_queue = loop_queue

    def enter(self, job: Job, *, at_once: bool = False) -> None:
        """Have ``job`` run, now or when its turn comes; raises `OverloadedError`.

        With ``at_once`` it takes a place whatever the limits are.
        """
        self.job: Job = job
        self.run = job.run
        self.stage = ENTER[self.stage]
        try:
            if at_once:
                self._governor.hurry(self.ticket, self)
            else:
                self._governor.submit(self.ticket, self)
        except BaseException:
            self._end()
            raise

    def set_aside(self) -> bool:
        """Let it count no more, because it hangs; tell whether that could be done."""
        return self._governor.set_aside(self.ticket)

    def withdraw(self) -> None:
        """Do not wait any longer: give up what has not begun, and go on at once with what has."""
        if self.stage is not Stage.QUEUED:
            return
        if self.seat is not None:
            self._governor.hurry(self.ticket, self)
        elif self._governor.withdraw(self.ticket):
            self._end()

    def go_on(self, *, at_once: bool = False) -> None:
        """Go on after parking, when there is a place; ``at_once`` does not wait for one."""
        seat, account = self.seat, self.ticket.account
        assert seat is not None, "only what has parked goes on"
        held = self.ticket if seat.belongings else None
        self.ticket = Ticket(account, self.route, held)
        self.stage = ENTER[self.stage]
        if not at_once:
            try:
                self._governor.submit(self.ticket, self)
                return
            except OverloadedError:  # but this one has begun
                pass
        self._governor.hurry(self.ticket, self)

    @property
    def waits(self) -> bool:
        """Whether its turn has not come yet."""
        return self.stage is Stage.QUEUED

    @property
    def runs(self) -> bool:
        """Whether a thread has it."""
        return self.stage is Stage.RUNNING

    # The governor's work

    def start(self, lane: Lane) -> None:
        """Have a thread for it. Once more is no harm."""
        if self.stage is not Stage.QUEUED:
            return
        try:
            self.stage = ADMIT[self.stage]
            if self.seat is not None:
                self.seat.resume(self)
            else:
                self.threads.run(self)
        except BaseException as error:
            self.fail(error)

    # The errand of the pool

    def perform(self, worker: Worker) -> None:
        """Run the job on the thread of ``worker``, to its end or until it parks."""
        self.stage = BEGIN[self.stage]
        try:
            self._governor.began(self.ticket)
            if self.seat is None:
                worker.seats.run(worker, self.threads.generation, self)
            else:
                worker.seats.resume(self)
        except BaseException as error:
            self.fail(error)
            if self.seat is not None and not self.seat.parked:
                self.seat = None

    def fail(self, error: BaseException) -> None:
        """End the job with an error, if it has not ended; without a thread, that is the end."""
        self.job.abort(error)
        if self.stage is Stage.ADMITTED:
            self._governor.finished(self.ticket)
            self._end()

    def released(self) -> None:
        """Give back the place: the thread is free for others. Once more is no harm."""
        if self.stage is Stage.ADMITTED:
            self.fail(RuntimeError("an exception hit the thread before it began"))
        if self.stage is Stage.RUNNING:
            seat = self.seat
            self._governor.finished(self.ticket, holds=seat is not None and bool(seat.belongings))
            if not self._governor.crowded:
                self._loop_queue.wake()
            if seat is None:
                self._end()
            else:
                self.stage = PARK[self.stage]
        if self.stage is Stage.PARKED:
            self.job.parked()

    def _end(self) -> None:
        """Let go of the job, too: each knows of the other, so only a collection would find them."""
        self.stage = END[self.stage]
        self.job, self.run = _OVER, _OVER.run
