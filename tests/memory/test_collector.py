from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from gateway.memory.collector import Collector, Pace
from gateway.memory.switch import held as switched_off

DEADLINE = 30.0
LOOK = 0.01
OFTEN = Pace(look=LOOK)


class Ring:
    """Garbage that only the collector frees."""

    def __init__(self, then: Callable[[], object] = int) -> None:
        self.itself = self
        weakref.finalize(self, then).atexit = False


def drop_old_garbage(then: Callable[[], object]) -> None:
    """A ring that has outlived the small collections."""
    ring = Ring(then)
    gc.collect(1)
    del ring


def outlive() -> None:
    """Have Python want a full collection: enough objects that stay."""
    kept = [[] for _ in range(len(gc.get_objects()) + 400_000)]
    assert kept


def full_collections() -> int:
    return int(gc.get_stats()[2]["collections"])


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    gc.collect()
    thresholds = gc.get_threshold()
    yield
    assert (gc.get_threshold(), gc.isenabled()) == (thresholds, True)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not what():
            await asyncio.sleep(LOOK)


@pytest.mark.anyio
async def test_no_full_collection_starts_by_itself() -> None:
    before = full_collections()
    outlive()
    assert full_collections() > before, "plain Python is expected to start one here"
    with Collector(lambda: False):
        before = full_collections()
        outlive()
        assert full_collections() == before


@pytest.mark.anyio
async def test_what_is_wanted_is_done_in_the_next_quiet_moment() -> None:
    quiet, freed, looks = False, asyncio.Event(), 0
    loop = asyncio.get_running_loop()

    def was_quiet() -> bool:
        nonlocal looks
        looks += 1
        return quiet

    with Collector(was_quiet, OFTEN) as held:
        drop_old_garbage(lambda: loop.call_soon_threadsafe(freed.set))
        for _ in range(3):
            held.then(int)
        await until(lambda: looks > 3)
        assert not freed.is_set() and held.last is None
        quiet = True
        await asyncio.wait_for(freed.wait(), DEADLINE)
        await until(lambda: held.last)
        assert held.pauses == 1, "causes are put together"
        assert held.last is not None and held.last.idle and held.last.seconds > 0
        looks = 0
        await until(lambda: looks > 3)
        assert held.pauses == 1, "and nothing is collected that nobody causes for"


@pytest.mark.anyio
async def test_who_asks_waits_less_than_python() -> None:
    with Collector(lambda: True, Pace(look=LOOK, rest=1e9)) as held:
        for number in (1, 2):
            held.then(int)
            await until(lambda number=number: held.pauses == number)
        for _ in range(gc.get_threshold()[1] + 5):
            gc.collect(1)
        await asyncio.sleep(20 * LOOK)
        assert held.pauses == 2


@pytest.mark.anyio
async def test_many_small_collections_make_a_full_one_due() -> None:
    with Collector(lambda: True, OFTEN) as held:
        for _ in range(gc.get_threshold()[1] + 5):
            gc.collect(1)
        await until(lambda: held.last)


@pytest.mark.anyio
async def test_python_s_own_rule_holds_when_it_is_never_quiet() -> None:
    before = gc.get_threshold()
    with Collector(lambda: False, Pace(look=LOOK, latest=0)) as held:
        assert gc.get_threshold() != before
        held.then(int)
        await until(lambda: gc.get_threshold() == before)
        outlive()
        assert held.last is not None and not held.last.idle
        assert gc.get_threshold() != before


@pytest.mark.anyio
async def test_it_does_not_disturb_a_load() -> None:
    looks = 0

    def was_quiet() -> bool:
        nonlocal looks
        looks += 1
        return True

    with Collector(was_quiet, OFTEN) as held:
        with switched_off():
            held.then(int)
            await until(lambda: looks > 3)
            assert held.last is None
        await until(lambda: held.last)


@pytest.mark.anyio
async def test_a_long_pause_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    pace = Pace(look=LOOK, long=0)
    with caplog.at_level(logging.INFO, "gateway"), Collector(lambda: True, pace) as held:
        held.then(int)
        await until(lambda: caplog.messages)
    assert "a full garbage collection in an idle moment took" in caplog.messages[0]


@pytest.mark.anyio
async def test_without_a_thread_it_is_done_when_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, refused = threading.Thread.start, list[str]()

    def refuse_each_once(thread: threading.Thread) -> None:
        if thread.name.startswith("gateway") and thread.name not in refused:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_each_once)
    done: list[bool] = []
    with Collector(lambda: False, OFTEN) as collector:
        collector.then(lambda: done.append(True))
        collector.hurry()
        await until(lambda: done)
    assert refused == ["gateway collector", "gateway after collection"]
