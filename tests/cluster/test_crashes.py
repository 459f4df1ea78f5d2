"""Workers of another container, whose processes cannot be seen, and what a worker said last."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.cluster.crashes import INTERVAL, Crashes, last_report
from gateway.cluster.identity import SILENT, Identity
from gateway.cluster.store import Worker
from gateway.cluster.store.sqlite import SqliteStore
from gateway.cluster.store.thread import StoreThread
from gateway.sites.events import Crashed

pytestmark = pytest.mark.anyio

ELSEWHERE = Worker("7-ab", 7, "another place", "1", 10.0, False, {"sites": {}})


class Watcher:
    """A worker that looks for others that have crashed."""

    def __init__(self, store_thread: StoreThread, clock: Any) -> None:
        self.found: list[str] = []
        self.clock = clock
        self.crashes = Crashes(
            store_thread,
            Identity.mine(),
            lambda crash: self.found.append(crash.worker),
            clock=clock,
        )

    async def check(self, seconds: float, worker: Worker = ELSEWHERE) -> list[str]:
        """Let time pass, and return all that was found by now."""
        self.clock.now += seconds
        await self.crashes.check([worker])
        return self.found


@pytest.fixture
async def watcher(tmp_path: Path, clock: Any) -> AsyncIterator[Watcher]:
    async with StoreThread(lambda: SqliteStore(tmp_path / "gateway.db")) as store_thread:
        await store_thread.ask(lambda store: store.report(ELSEWHERE))
        yield Watcher(store_thread, clock)


async def test_silence_counts_from_when_it_is_watched(watcher: Watcher) -> None:
    assert await watcher.check(0) == []  # however long ago the report was
    assert await watcher.check(SILENT) == []
    assert await watcher.check(INTERVAL) == ["7-ab"]
    assert await watcher.check(SILENT * 3) == ["7-ab"], "it was told twice"


async def test_a_report_ends_the_silence(watcher: Watcher) -> None:
    await watcher.check(0)
    reported = replace(ELSEWHERE, seen=20.0)
    assert await watcher.check(SILENT + INTERVAL, reported) == []
    assert await watcher.check(SILENT, reported) == []


async def test_a_report_that_was_not_seen_yet_ends_the_silence(watcher: Watcher) -> None:
    await watcher.check(0)
    reported = replace(ELSEWHERE, seen=20.0)
    await watcher.crashes._store_thread.ask(lambda store: store.report(reported))
    assert await watcher.check(SILENT + INTERVAL) == []


async def test_time_without_a_store_does_not_count(watcher: Watcher) -> None:
    await watcher.check(0)
    watcher.crashes.reset()
    assert await watcher.check(SILENT + INTERVAL) == []
    assert await watcher.check(SILENT + INTERVAL) == ["7-ab"]


async def test_a_worker_that_comes_back_can_crash_again(watcher: Watcher) -> None:
    await watcher.check(0)
    await watcher.check(SILENT + INTERVAL)
    back = replace(ELSEWHERE, seen=20.0)
    await watcher.crashes._store_thread.ask(lambda store: store.report(back))
    assert await watcher.check(SILENT, back) == ["7-ab"]
    assert await watcher.check(SILENT + INTERVAL, back) == ["7-ab", "7-ab"]


async def test_how_long_a_worker_is_silent(watcher: Watcher) -> None:
    assert watcher.crashes.silence(ELSEWHERE) == 0
    await watcher.check(0)
    await watcher.check(4)
    await watcher.check(3)
    assert watcher.crashes.silence(ELSEWHERE) == 7
    watcher.clock.now += 100  # this worker stood still itself
    assert watcher.crashes.silence(ELSEWHERE) == 7
    assert watcher.crashes.silence(replace(ELSEWHERE, seen=20.0)) == 0


def test_what_it_said_last() -> None:
    seen = time.time() - 3.2
    assert last_report(Crashed("7-ab", 7, seen, (), ())) == "reported 3 s ago for the last time"
    assert last_report(Crashed("7-ab", 7, seen, ("a", "b"), ("c",))).endswith(
        "for the last time; it was loading c; it had loaded a, b"
    )
