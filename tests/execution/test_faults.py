"""Faults at every point of a passage: whatever raises, all that was taken is given back.

Requests of two hostile sites hang, park, leave and raise, while threads do not start, folders
cannot be entered, hooks raise, and exceptions are aimed at threads. After each step what the
governor, the pool and the seats have counted adds up; at the end a neighbour is answered while
all of it is still going on, and when it is over nothing is left.

``FAULT_STEPS`` is the number of steps of a longer run.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import integers, sampled_from

from gateway.config.limits import Limits
from gateway.execution import governor, seats
from gateway.execution.governor import Governor
from gateway.execution.passage import Passage, Stage
from gateway.execution.pool import Pool, PoolFigures, Threads, Worker
from gateway.execution.wsgi import Bridge, Traffic
from gateway.execution.wsgi.response import HIGH_WATER
from gateway.sites.reporting import Reporter

from .wsgi.asgi import Client, Environ, StartResponse, scope

SITES: Final = ("one", "two")
THREADS: Final = 8
LIMITS: Final = Limits(concurrency=3, queue_length=4, queue_wait=3600, request_timeout=3600)
STEPS: Final = int(os.environ.get("FAULT_STEPS", "0"))
PIECE: Final = b"x" * (HIGH_WATER // 2)

sites = sampled_from(SITES)


@pytest.fixture(autouse=True)
def _deaf(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is aimed at a thread may hit it anywhere, in a callback of a weak reference as well.

    Before Python 3.13, one that hits it in `logging` can leave the lock of a handler taken.
    """
    monkeypatch.setattr(sys, "unraisablehook", lambda *_: None)
    monkeypatch.setattr(threading, "excepthook", lambda *_: None)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Fault(BaseException):
    """Raised where nobody expects it."""


class Application:
    """A WSGI application that does what the path says."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.inside = 0
        self.lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/raise":
            raise Fault
        start_response("200 OK", [])
        if path == "/stream":
            return self._stream()
        if path == "/write":
            write = start_response("200 OK", [], (ValueError, ValueError(), None))
            for _ in range(6):
                write(PIECE)
            return []
        if path == "/hang":
            self.go_on.wait()
        return [b"done"]

    @staticmethod
    def _stream() -> Iterator[bytes]:
        for _ in range(6):
            yield PIECE


class Reader(Client):
    """A client that takes what it is sent only as long as it reads."""

    def __init__(self, reads: bool) -> None:
        super().__init__()
        self.reads = asyncio.Event()
        if reads:
            self.reads.set()

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        await super().send(message)


class Site:
    """A site with its generations, whose hooks fail when the world says so."""

    def __init__(self, world: Passages, name: str) -> None:
        self.world = world
        self.name = name
        self.connected = False
        self.renew()

    def renew(self) -> None:
        self.app = Application()
        self.threads = Threads(
            Reporter(self.name, {}),
            self.world.traffic.pool,
            folder="/",
            end=self.world.hook,
            leave=self._leave,
            enter=self.world.hook,
        )
        self.bridge = Bridge(self.app, self.threads, self.world.traffic, LIMITS)  # type: ignore[arg-type]

    def _leave(self) -> Any:
        self.world.hook()
        return ["a connection"] if self.connected else None


class Passages(RuleBasedStateMachine):
    """Two hostile sites and a neighbour on one loop."""

    patience = 10.0
    """Seconds until what has to happen counts as not happening."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.run(self._begin())

    async def _begin(self) -> None:
        self.traffic = Traffic(THREADS)
        self.hooks_fail = self.no_threads = 0
        self.closed_folders = False
        self.sites = {name: Site(self, name) for name in SITES}
        self.neighbour = Site(self, "neighbour")
        self.old: list[Site] = []
        self.visits: list[tuple[Reader, asyncio.Task[Any]]] = []
        self.generations: list[Threads] = []
        self.apps: list[Application] = []
        self._start, self._change = threading.Thread.start, seats.change_folder
        threading.Thread.start = lambda thread: self._start_thread(thread)  # type: ignore[method-assign]
        seats.change_folder = self._change_folder

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    # The faults

    def _start_thread(self, thread: threading.Thread) -> None:
        if self.no_threads and thread.name == "gateway worker":
            self.no_threads -= 1
            raise RuntimeError("can't start new thread")
        self._start(thread)

    def hook(self, *_: Any) -> None:
        if self.hooks_fail:
            self.hooks_fail -= 1
            raise Fault

    def _change_folder(self, folder: int) -> None:
        if self.closed_folders:
            raise PermissionError(13, "Permission denied")
        self._change(folder)

    @rule(count=integers(1, 3))
    def hooks_raise(self, count: int) -> None:
        self.hooks_fail = count

    @rule(count=integers(0, 8))
    def threads_do_not_start(self, count: int) -> None:
        self.no_threads = count

    @rule(closed=sampled_from([True, False]))
    def folders_close(self, closed: bool) -> None:
        self.closed_folders = closed

    @rule(number=integers(0, THREADS))
    def an_exception_is_aimed_at_a_thread(self, number: int) -> None:
        # A thread that has died may have left its identifier to another one.
        alive = [thread for thread in self.traffic.pool.alive() if thread.is_alive()]
        threads = sorted(alive, key=lambda thread: thread.ident or 0)
        if threads:
            aimed = ctypes.c_ulong(threads[number % len(threads)].ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(aimed, ctypes.py_object(SystemExit))
        self.settle()

    # What visitors do

    @rule(name=sites, path=sampled_from(["/", "/hang", "/stream", "/write", "/raise"]),
          reads=sampled_from([True, False]), connected=sampled_from([True, False]))  # fmt: skip
    def visit(self, name: str, path: str, reads: bool, connected: bool) -> None:
        site = self.sites[name]
        site.connected = connected

        async def ask() -> None:
            reader = Reader(reads)
            task = asyncio.ensure_future(
                site.bridge(scope(path=path, raw_path=path.encode()), reader.receive, reader.send)
            )
            self.visits.append((reader, task))

        self.run(ask())
        self.settle()

    @rule(number=integers(0, 20))
    def read_on(self, number: int) -> None:
        if self.visits:
            self.loop.call_soon(self.visits[number % len(self.visits)][0].reads.set)
        self.settle()

    @rule(number=integers(0, 20))
    def leave(self, number: int) -> None:
        if self.visits:
            self.loop.call_soon(self.visits[number % len(self.visits)][0].left.set)
        self.settle()

    @rule(number=integers(0, 20))
    def cancel(self, number: int) -> None:
        if self.visits:
            self.loop.call_soon(self.visits[number % len(self.visits)][1].cancel)
        self.settle()

    @rule(name=sites)
    def hung_ones_go_on(self, name: str) -> None:
        app = self.sites[name].app
        app.go_on.set()
        self.settle()
        app.go_on.clear()

    # What developers do

    @rule(name=sites)
    def reload(self, name: str) -> None:
        site = self.sites[name]
        self.generations.append(site.threads)
        self.apps.append(site.app)

        async def close() -> None:
            bridge, threads = site.bridge, site.threads
            site.renew()
            bridge.close()
            threads.shutdown(wait=False, cancel_futures=True)

        self.run(close())
        self.settle()

    # What has to hold

    def settle(self) -> None:
        """Let everything happen that waits for nobody, and see whether it adds up."""
        self.run(self._settle())

    async def _settle(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)
        until = time.monotonic() + self.patience
        while faults := self._faults():
            assert time.monotonic() < until, faults
            await asyncio.sleep(0.001)

    def _faults(self) -> list[str]:
        governor, figures = self.traffic.governor, self.traffic.pool.figures()
        places, busy = governor.places, figures.threads - figures.idle
        passages: list[Any] = governor.running()
        at_work = [passage for passage in passages if passage.runs]
        lost = [each.what for each in self.traffic.audit.look().values() if each.lost]
        return [
            text
            for text, wrong in {
                f"{places} are not {len(passages)}": places.running + places.aside != len(passages),
                f"{[str(p.stage) for p in passages]}": any(
                    passage.stage not in (Stage.RUNNING, Stage.ADMITTED) for passage in passages
                ),
                f"{busy} threads are busy with {len(at_work)}": busy != len(at_work),
                f"{figures}: somebody waits beside idle threads": figures.waiting
                and (figures.idle or not figures.threads),
                f"{len(passages)} were admitted, and no thread does anything": passages
                and not busy,
                f"{places} of {THREADS}": places.running + places.held > THREADS,
                f"{lost} are lost": bool(lost),
            }.items()
            if wrong
        ]

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.run(asyncio.wait_for(self._end(), 3 * self.patience))
        finally:
            threading.Thread.start = self._start  # type: ignore[method-assign]
            seats.change_folder = self._change
            for app in self._all_apps():
                app.go_on.set()
            self.run(self._cancel())
            self.loop.close()

    async def _cancel(self) -> None:
        for _, task in self.visits:
            task.cancel()
        await asyncio.sleep(0.01)

    def _all_apps(self) -> list[Application]:
        return [*self.apps, *(site.app for site in self.sites.values())]

    async def _end(self) -> None:
        # The machine has mended; the hostile sites have not.
        self.hooks_fail = self.no_threads = 0
        self.closed_folders = False
        reader = Reader(True)
        async with asyncio.timeout(self.patience):
            for _ in range(2):  # an exception that is still aimed at an idle thread may hit one
                await reader.ask(self.neighbour.bridge)
        assert reader.sent[-1]["body"] == b"done", reader.sent
        for app in self._all_apps():
            app.go_on.set()
        for reader, _ in self.visits:
            reader.reads.set()
        if self.visits:
            _, open_ = await asyncio.wait([task for _, task in self.visits], timeout=self.patience)
            assert not open_, "a request has no end"
        for _, task in self.visits:
            task.cancelled() or task.exception()
        everything = [*self.generations, self.neighbour.threads]
        everything += [site.threads for site in self.sites.values()]
        for threads in everything:
            threads.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + self.patience
        for threads in everything:
            while not threads.join(0):
                assert time.monotonic() < until, f"{threads.seats} seats were not given up"
                await asyncio.sleep(0.001)
        await self._settle()
        places = self.traffic.governor.places
        assert (places.running, places.held, places.aside, places.waiting) == (0, 0, 0, 0)
        figures = self.traffic.pool.figures()
        assert figures == PoolFigures(figures.threads, figures.threads, 0, 0)
        self.traffic.__exit__(None, None, None)
        assert self.traffic.intake.receives is False


TestPassages = pytest.mark.timeout(3600 if STEPS else 120)(Passages.TestCase)
TestPassages.settings = settings(
    max_examples=max(40, STEPS // 50),
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


# The faults that there were, put back


def _threads_die(self: Worker) -> None:
    self.seats.begin()
    while True:
        if self.errand is not None:
            self.errand.perform(self)
            self.over, self.errand = self.errand, None
            self._release(self.over)
        elif not self._wait():
            return


def _what_is_outside_the_job_is_not_caught(self: Passage, worker: Worker) -> None:
    self.stage = Stage.RUNNING
    self._governor.began(self.ticket)
    if self.seat is None:
        worker.seats.run(worker, self.threads.generation, self)
    else:
        worker.seats.resume(self)


def _a_folder_that_cannot_be_entered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Worker, "_loop", _threads_die)
    patch.setattr(Passage, "perform", _what_is_outside_the_job_is_not_caught)


def _a_thread_that_does_not_start(patch: pytest.MonkeyPatch) -> None:
    def start(self: Pool, errand: Any) -> None:
        worker = Worker(self, errand)
        self._workers.add(worker)
        worker.thread.start()

    patch.setattr(Pool, "_start", start)


def _a_job_that_is_cancelled(patch: pytest.MonkeyPatch) -> None:
    def fail(self: Passage, error: BaseException) -> None:
        self.job.abort(error)

    patch.setattr(Passage, "fail", fail)


def _an_exception_that_comes_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Worker, "_loop", _threads_die)


def _clients_that_do_not_read(patch: pytest.MonkeyPatch) -> None:
    park, finished = seats.ThreadSeats._park, Governor.finished

    def hold(self: seats.ThreadSeats, seat: Any, job: Any) -> None:
        park(self, seat, job)
        if seat.belongings and len(self._count.taken) > 2:
            self._unpark(seat)
            job.seat = None
            job.job._hold()
            if seat.context.run(job.run):
                hold(self, seat, job)

    def choose(self: Pool, generation: Any, *, parked: bool) -> Worker | None:
        return self._idle[-1] if self._idle else None

    patch.setattr(seats.ThreadSeats, "_park", hold)
    patch.setattr(Pool, "_choose", choose)
    patch.setattr(governor, "_THREAD_WITHIN", 1e9)
    patch.setattr(
        Governor, "finished", lambda self, ticket, holds=False: finished(self, ticket, holds=False)
    )


@pytest.mark.parametrize(
    "fault",
    [
        _a_folder_that_cannot_be_entered,
        _a_thread_that_does_not_start,
        _a_job_that_is_cancelled,
        _an_exception_that_comes_late,
        _clients_that_do_not_read,
    ],
)
def test_each_fault_that_there_was_is_found(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    monkeypatch.setattr(Passages, "patience", 0.3)
    search = settings(
        TestPassages.settings,
        max_examples=5_000,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        database=None,
        print_blob=False,
    )
    # Threads take their turns as they like, so what is found may not be found twice.
    with pytest.raises((AssertionError, TimeoutError, BaseExceptionGroup, Flaky)):
        run_state_machine_as_test(Passages, settings=search)
