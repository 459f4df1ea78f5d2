"""The clocks of real threads."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.execution.clocks import SystemClocks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these clocks")

DEADLINE = 30.0


@contextmanager
def thread_that(works: Callable[[], object]) -> Iterator[int]:
    """The id of the clock of a thread that does this again and again."""
    clocks: list[int] = []
    began, enough = threading.Event(), threading.Event()

    def run() -> None:
        clocks.append(SystemClocks().own()[0])
        began.set()
        while not enough.is_set():
            works()

    thread = threading.Thread(target=run)
    thread.start()
    began.wait()
    try:
        yield clocks[0]
    finally:
        enough.set()
        thread.join()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_who_computes_wants_a_processor() -> None:
    """Without the GIL, for which it would have to wait."""
    clocks = SystemClocks()
    with thread_that(lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000)) as clock:
        _until(lambda: clocks.wants_processor(clock))


def test_who_sleeps_wants_none() -> None:
    clocks = SystemClocks()
    with thread_that(lambda: time.sleep(0.2)) as clock:
        _until(lambda: not clocks.wants_processor(clock))
        used = clocks.cpu(clock)
        assert not clocks.wants_processor(clock)
        assert clocks.cpu(clock) - used < 100_000_000


def test_who_has_ended_wants_none() -> None:
    with thread_that(lambda: time.sleep(0.001)) as clock:
        pass
    # Python's thread ends before that of the system.
    _until(lambda: not Path(f"/proc/self/task/{~(clock >> 3)}").exists())
    assert not SystemClocks().wants_processor(clock)
