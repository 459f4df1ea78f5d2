"""Which sites are unloaded when nobody uses them, and which are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.config.limits import Limits
from gateway.errors import LoadError
from gateway.memory.budget import Budget
from gateway.memory.figures import resident
from gateway.sites.events import Events, Happening, Idled
from gateway.sites.gate import Mode
from gateway.sites.registry import Registry
from gateway.sites.state import State
from gateway.upkeep.idle import SETTLED, IdleSites

pytestmark = pytest.mark.anyio

HOUR = 3600.0
MB = 1 << 20


@pytest.fixture
async def registry(config: Any, entry: Any, backend: Any, clock: Any) -> AsyncIterator[Registry]:
    """Three sites; one has an ``idle_timeout`` of an hour."""
    sites = config(entry("shop", limits=Limits(idle_timeout=HOUR)), "blog", "wiki")
    events = Events()
    async with Registry(sites, backend, clock=clock, events=events) as registry:
        yield registry


class Watched(IdleSites):
    """Its memory is what a test says; it records what was unloaded."""

    def __init__(self, registry: Registry, clock: Any, budget: int = 0) -> None:
        self.used = 0
        self.unloaded: list[tuple[str, int, str]] = []
        self.reclaimed = asyncio.Event()
        super().__init__(
            registry,
            Budget(budget, memory=lambda: self.used),
            self.reclaimed.wait,
            clock=clock,
        )
        registry.events.subscribe(self._record)

    def _record(self, event: Happening) -> None:
        if isinstance(event, Idled):
            self.unloaded.append((event.site, event.generation, event.cause.asker))

    def stay(self) -> None:
        """Reckon with no growth."""
        self._before, self._growth = self.used, 0.0

    async def give_back(self) -> None:
        """Let the unloading come to its end."""
        self.reclaimed.set()
        while self._reclaiming is not None:
            await asyncio.sleep(0)
        self.reclaimed.clear()


async def visit(registry: Registry, get: Any, *names: str) -> None:
    for name in names:
        assert (await get(registry.find(f"{name}.example"))).status_code == 200


async def test_a_site_is_unloaded_after_its_time_and_loads_with_the_next_request(
    registry: Registry, backend: Any, clock: Any, get: Any
) -> None:
    idle = Watched(registry, clock)
    await visit(registry, get, "shop", "blog")
    clock.now += HOUR - 1
    idle.check()
    assert idle.unloaded == []
    await visit(registry, get, "shop")
    clock.now += HOUR - 1
    idle.check()
    assert idle.unloaded == [], "the request has put it off"
    clock.now += 1
    idle.check()
    assert idle.unloaded == [("shop", 1, "idle")]
    await asyncio.wait_for(backend.unloaded.wait(), 5)
    assert registry.site_status("shop").state is State.COLD
    assert registry.site_status("blog").state is State.READY
    await visit(registry, get, "shop")
    assert registry.site_status("shop").generation == 2


async def test_a_site_in_use_stays_loaded(
    registry: Registry, backend: Any, clock: Any, get: Any
) -> None:
    idle = Watched(registry, clock)
    shop: Any = registry.find("shop.example")
    slow = asyncio.create_task(get(shop, "/slow"))
    await backend.busy.wait()
    clock.now += 2 * HOUR
    idle.check()
    assert idle.unloaded == []
    backend.release.set()
    await slow
    clock.now += 2 * HOUR

    shop.gate.set(Mode.PAUSED)
    held = asyncio.create_task(get(shop))
    while not shop.gate.waiting:
        await asyncio.sleep(0)
    idle.check()
    assert idle.unloaded == []
    shop.gate.set(Mode.OPEN)
    await held
    clock.now += 2 * HOUR

    hold = backend.hold("shop")
    reload = asyncio.create_task(shop.reload())
    await backend.loading["shop"].wait()
    idle.check()
    assert idle.unloaded == []
    backend.errors["shop"] = LoadError("no")
    hold.set()
    await reload
    clock.now += 2 * HOUR
    idle.check()
    assert idle.unloaded == [], "the code that serves is not the code on the disk"
    del backend.errors["shop"]
    await shop.reload()
    clock.now += 2 * HOUR
    idle.check()
    assert idle.unloaded == [("shop", 3, "idle")]


async def test_the_least_recently_used_go_first_as_many_as_are_worth_the_excess(
    registry: Registry, clock: Any, get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    idle = Watched(registry, clock, budget=100 * MB)
    for name in ("blog", "shop", "wiki", "blog"):
        await visit(registry, get, name)
        clock.now += 1
    clock.now += SETTLED
    idle.used = 100 * MB
    idle.stay()
    idle.check()
    assert idle.unloaded == []
    idle.used += 1
    idle.stay()
    idle.check()
    assert idle.unloaded == [("shop", 1, "memory")]
    idle.check()
    assert len(idle.unloaded) == 1, "nobody knows yet what that has freed"
    await idle.give_back()
    idle.check()
    assert idle.unloaded[1:] == [("wiki", 1, "memory")]
    await idle.give_back()
    await visit(registry, get, "blog")
    for _ in range(3):
        idle.check()
    assert len(idle.unloaded) == 2, "it has just been used"
    assert caplog.text.count("the process has 100 MB, and 100 as its budget") == 1
    clock.now += SETTLED
    await visit(registry, get, "shop", "wiki")
    clock.now += SETTLED
    idle.used = 150 * MB
    idle.stay()
    idle.check()
    assert [name for name, _, _ in idle.unloaded[2:]] == ["blog"], "one is worth 50 MB of 150"


async def test_what_grows_is_met_before_it_is_there(
    registry: Registry, clock: Any, get: Any
) -> None:
    idle = Watched(registry, clock, budget=100 * MB)
    await visit(registry, get, "blog", "shop")
    clock.now += SETTLED
    idle.used = 50 * MB
    idle.stay()
    idle.used += 8 * MB  # in a second
    idle.check()
    assert idle.unloaded == []
    idle.used += 8 * MB
    idle.check()
    assert [why for _, _, why in idle.unloaded] == ["memory"]
    await idle.give_back()


async def test_it_looks_by_itself(registry: Registry, clock: Any, get: Any) -> None:
    unloaded = asyncio.Event()
    registry.events.subscribe(lambda event: unloaded.set() if isinstance(event, Idled) else None)
    await visit(registry, get, "shop")
    clock.now += HOUR
    reclaim = asyncio.Event().wait
    async with IdleSites(registry, Budget(), reclaim, interval=0.01, clock=clock):
        await asyncio.wait_for(unloaded.wait(), 5)


def test_the_memory_of_this_process() -> None:
    assert 10 << 20 < resident() < 100 << 30
