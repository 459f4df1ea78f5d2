from __future__ import annotations

import contextvars
import gc
import linecache
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.execution.pool import Pool, Threads, stack_of
from gateway.namespace import frames
from gateway.sites.reporting import Reporter

DEADLINE = 30.0


@pytest.fixture
def pool() -> Pool:
    return Pool(2)


@pytest.fixture
def threads(pool: Pool) -> Iterator[Threads]:
    threads = Threads(Reporter("shop", {}), pool)
    yield threads
    threads.shutdown()
    assert not threads.seats


def test_a_result_and_an_error_reach_the_caller(threads: Threads) -> None:
    assert threads.submit(divmod, 7, 2).result(DEADLINE) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 7, 0).result(DEADLINE)


def test_sys_exit_in_a_task_ends_neither_thread_nor_process(threads: Threads) -> None:
    with pytest.raises(SystemExit):
        threads.submit(sys.exit, 3).result(DEADLINE)
    assert threads.submit(int, "1").result(DEADLINE) == 1


def test_never_more_threads_than_the_limit_and_everything_is_run(
    pool: Pool, threads: Threads
) -> None:
    gate = threading.Barrier(2)
    running = [threads.submit(gate.wait, DEADLINE) for _ in range(2)]
    end = threading.Event()
    held = [threads.submit(end.wait, DEADLINE) for _ in range(2)]
    waiting = [threads.submit(threading.get_ident) for _ in range(20)]
    assert pool.figures().waiting >= 20
    end.set()
    assert all(future.result(DEADLINE) for future in held)
    idents = {future.result(DEADLINE) for future in waiting}
    assert len(idents) <= 2
    assert sorted(future.result(DEADLINE) for future in running) == [0, 1]
    figures = pool.figures()
    assert (figures.threads, figures.waiting, figures.seats) == (2, 0, 2)
    assert len(pool.alive()) == 2


def test_the_thread_used_last_is_taken_first(pool: Pool, threads: Threads) -> None:
    ends = [threading.Event(), threading.Event()]
    started = threading.Barrier(3)

    def hold(end: threading.Event) -> int:
        started.wait(DEADLINE)
        end.wait(DEADLINE)
        return threading.get_ident()

    first, second = (threads.submit(hold, end) for end in ends)
    started.wait(DEADLINE)
    ends[0].set()
    first_ident = first.result(DEADLINE)
    ends[1].set()
    last_ident = second.result(DEADLINE)
    assert first_ident != last_ident
    wait_until_idle(pool, 2)
    assert threads.submit(threading.get_ident).result(DEADLINE) == last_ident


def wait_until_idle(pool: Pool, count: int) -> None:
    """A future is done a moment before its thread is idle again."""
    for _ in range(100_000):
        if pool.figures().idle == count:
            return
    raise AssertionError("the threads did not become idle")


def test_a_thread_keeps_its_context_from_task_to_task() -> None:
    threads = Threads(Reporter("shop", {}), Pool(1))
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    threads.submit(variable.set, "kept").result(DEADLINE)
    assert threads.submit(variable.get).result(DEADLINE) == "kept"
    assert variable.get() == "unset"
    threads.shutdown()


def test_idle_threads_end_and_new_ones_start() -> None:
    ended = threading.Event()
    pool = Pool(1, idle=0.01)
    threads = Threads(Reporter("shop", {}), pool, end=ended.set)
    before = threads.submit(threading.current_thread).result(DEADLINE)
    assert ended.wait(DEADLINE)
    before.join(DEADLINE)
    assert not pool.alive() and not threads.seats
    assert threads.submit(threading.current_thread).result(DEADLINE) is not before
    threads.shutdown()


def test_a_seat_is_given_up_on_its_thread_and_errors_stop_nothing() -> None:
    ended: list[int] = []

    def end() -> None:
        ended.append(threading.get_ident())
        raise RuntimeError("the database is down")

    pool = Pool(1)
    threads = Threads(Reporter("shop", {}), pool, end=end)
    ident = threads.submit(threading.get_ident).result(DEADLINE)
    threads.shutdown()
    assert ended == [ident]
    # The thread is not the generation's: it goes on for others.
    assert Threads(Reporter("blog", {}), pool).submit(threading.get_ident).result(DEADLINE) == ident


def test_after_shutdown_nothing_is_taken_and_what_waits_is_cancelled() -> None:
    threads = Threads(Reporter("shop", {}), Pool(1))
    end = threading.Event()
    running = threads.submit(end.wait, DEADLINE)
    waiting = threads.submit(int)
    threads.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="shop"):
        threads.submit(int)
    end.set()
    assert running.result(DEADLINE)
    threads.shutdown()


def test_the_threads_of_a_closed_pool_end_when_they_are_free() -> None:
    pool = Pool(2)
    seats_given_up = threading.Semaphore(0)
    threads = Threads(Reporter("shop", {}), pool, end=seats_given_up.release)
    end = threading.Event()
    started = threading.Event()

    def hold() -> bool:
        started.set()
        return end.wait(DEADLINE)

    busy = threads.submit(hold)
    assert started.wait(DEADLINE)
    (held,) = pool.alive()
    idle = threads.submit(threading.current_thread).result(DEADLINE)
    pool.close()
    idle.join(DEADLINE)
    assert pool.alive() == [held]
    with pytest.raises(RuntimeError, match="shop"):
        threads.submit(int)
    end.set()
    assert busy.result(DEADLINE)
    held.join(DEADLINE)
    assert not pool.alive() and not threads.seats
    assert all(seats_given_up.acquire(timeout=DEADLINE) for _ in range(2))


def test_threads_never_block_the_exit(threads: Threads) -> None:
    assert threads.submit(threading.current_thread).result(DEADLINE).daemon


def test_what_a_thread_held_that_has_died_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fatal(*_: object) -> None:
        raise ValueError("a hook that a site has set for all threads")

    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    pool = Pool(1)
    threads = Threads(Reporter("shop", {}), pool)
    monkeypatch.setattr(threading, "_profile_hook", fatal)
    lost = threads.submit(int)
    (thread,) = pool.alive()
    thread.join(DEADLINE)
    monkeypatch.setattr(threading, "_profile_hook", None)
    waiting = threads.submit(int, "1")
    pool.bury()
    assert lost.cancelled()
    assert waiting.result(DEADLINE) == 1
    threads.shutdown()


class _Loader:
    """Is asked by `linecache` for the source of a module."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self.answer = answer

    def get_source(self, _: str) -> str:
        self.answer()
        return "pass"


@pytest.mark.parametrize("answer", [sys.exit, lambda: time.sleep(5)], ids=["exits", "sleeps"])
def test_the_stack_of_a_thread_is_told_without_its_loader(
    threads: Threads, tmp_path: Path, answer: Callable[[], object]
) -> None:
    file = str(tmp_path / "not there.py")
    variables = {"__name__": "lazy", "__loader__": _Loader(answer)}
    assert linecache.lazycache(file, variables)
    try:
        _check_stack_in(threads, file, file, variables)
    finally:
        linecache.cache.pop(file)


def test_the_stack_of_a_thread_is_told_without_opening_a_file(
    threads: Threads, tmp_path: Path
) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    _check_stack_in(threads, pipe, pipe)


class _Text(str):
    """The name of a file with methods of a site."""

    def _fail(self, *_: Any) -> Any:
        raise SystemExit

    __str__ = __repr__ = __format__ = __hash__ = __eq__ = __getitem__ = _fail
    isprintable = encode = replace = startswith = _fail


def test_the_stack_of_a_thread_is_told_without_methods_of_its_names(threads: Threads) -> None:
    _check_stack_in(threads, _Text("text.py"), "text.py")


def test_a_name_in_a_stack_is_one_line_that_can_be_written(threads: Threads) -> None:
    _check_stack_in(threads, "a\n\udcff.py", r"a\n\udcff.py")


def test_of_a_deep_stack_the_innermost_frames_are_told(threads: Threads) -> None:
    begun, end = threading.Event(), threading.Event()
    idents: list[int] = []

    def deep(depth: int) -> None:
        if depth:
            return deep(depth - 1)
        idents.append(threading.get_ident())
        begun.set()
        end.wait(DEADLINE)

    done = threads.submit(deep, 2 * frames.MOST)
    try:
        assert begun.wait(DEADLINE)
        lines = stack_of(idents[0]).splitlines()
    finally:
        end.set()
    done.result(DEADLINE)
    assert len(lines) == frames.MOST
    assert lines[0].endswith(" in deep") and lines[-1].endswith((" in wait", " in set"))


def _check_stack_in(
    threads: Threads, file: str, told: str, variables: dict[str, Any] | None = None
) -> None:
    """Check what is told of a thread whose code has ``file`` as its name."""
    begun, end = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        end.wait(DEADLINE)

    code = compile("\nwait()", "code", "exec")
    code = code.replace(co_filename=file, co_name=type(file)("view"))
    ident: list[int] = []

    def run() -> None:
        ident.append(threading.get_ident())
        exec(code, {**(variables or {}), "wait": wait})

    done = threads.submit(run)
    try:
        assert begun.wait(DEADLINE)
        stacks: list[str] = []
        # On a thread of its own, which may stand at a pipe for ever.
        teller = threading.Thread(target=lambda: stacks.append(stack_of(ident[0])), daemon=True)
        teller.start()
        teller.join(2)
        assert [f'  File "{told}", line 2, in view\n' in stack for stack in stacks] == [True]
    finally:
        end.set()
    done.result(DEADLINE)


def test_an_idle_seat_is_taken_over_from_a_thread_that_hangs_elsewhere() -> None:
    pool = Pool(2)
    ended: list[int] = []
    threads = Threads(Reporter("shop", {}), pool, end_of=ended.append)
    ident = threads.submit(threading.get_ident).result(DEADLINE)
    wait_until_idle(pool, 1)
    gone = weakref.ref(threads.generation)
    hangs, go_on = threading.Event(), threading.Event()
    others = Threads(Reporter("blog", {}), pool)
    hung = others.submit(lambda: (hangs.set(), go_on.wait(DEADLINE)))
    assert hangs.wait(DEADLINE)
    threads.shutdown(wait=False)
    assert threads.join(DEADLINE), "the seat waits for the thread"
    assert ended == [ident]
    del threads
    gc.collect()
    assert gone() is None, "the thread holds the generation in memory"
    go_on.set()
    assert hung.result(DEADLINE)
    wait_until_idle(pool, 1)
    assert others.submit(threading.get_ident).result(DEADLINE) == ident
    others.shutdown()


def test_the_seat_of_a_job_is_not_taken_over() -> None:
    ended: list[int] = []
    threads = Threads(Reporter("shop", {}), Pool(1), end_of=ended.append)
    begun, end = threading.Event(), threading.Event()
    running = threads.submit(lambda: (begun.set(), end.wait(DEADLINE)))
    assert begun.wait(DEADLINE)
    threads.shutdown(wait=False)
    assert not threads.join(1.5)
    end.set()
    assert running.result(DEADLINE)
    threads.shutdown()
    assert not ended and not threads.seats
