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
from gateway.sites.events import Events, Happening, Rested
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
    """Its memory is what a test says; it notes what was unloaded."""

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
        registry.events.subscribe(self._note)

    def _note(self, event: Happening) -> None:
        if isinstance(event, Rested):
            self.unloaded.append((event.site, event.generation, event.why))

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


async def test_a_site_rests_after_its_time_and_wakes_with_the_next_request(
    registry: Registry, backend: Any, clock: Any, get: Any
) -> None:
    rest = Watched(registry, clock)
    await visit(registry, get, "shop", "blog")
    clock.now += HOUR - 1
    rest.look()
    assert rest.unloaded == []
    await visit(registry, get, "shop")
    clock.now += HOUR - 1
    rest.look()
    assert rest.unloaded == [], "the request has put it off"
    clock.now += 1
    rest.look()
    assert rest.unloaded == [("shop", 1, "idle")]
    await asyncio.wait_for(backend.unloaded.wait(), 5)
    assert registry.site_status("shop").state is State.COLD
    assert registry.site_status("blog").state is State.READY
    await visit(registry, get, "shop")
    assert registry.site_status("shop").generation == 2


async def test_who_is_in_use_does_not_rest(
    registry: Registry, backend: Any, clock: Any, get: Any
) -> None:
    rest = Watched(registry, clock)
    shop: Any = registry.find("shop.example")
    slow = asyncio.create_task(get(shop, "/slow"))
    await backend.busy.wait()
    clock.now += 2 * HOUR
    rest.look()
    assert rest.unloaded == []
    backend.release.set()
    await slow
    clock.now += 2 * HOUR

    shop.gate.set(Mode.PAUSED)
    held = asyncio.create_task(get(shop))
    while not shop.gate.waiting:
        await asyncio.sleep(0)
    rest.look()
    assert rest.unloaded == []
    shop.gate.set(Mode.OPEN)
    await held
    clock.now += 2 * HOUR

    hold = backend.hold("shop")
    reload = asyncio.create_task(shop.reload())
    await backend.loading["shop"].wait()
    rest.look()
    assert rest.unloaded == []
    backend.errors["shop"] = LoadError("no")
    hold.set()
    await reload
    clock.now += 2 * HOUR
    rest.look()
    assert rest.unloaded == [], "the code that serves is not the code on the disk"
    del backend.errors["shop"]
    await shop.reload()
    clock.now += 2 * HOUR
    rest.look()
    assert rest.unloaded == [("shop", 2, "idle")]


async def test_the_least_recently_used_go_first_as_many_as_are_worth_the_excess(
    registry: Registry, clock: Any, get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rest = Watched(registry, clock, budget=100 * MB)
    for name in ("blog", "shop", "wiki", "blog"):
        await visit(registry, get, name)
        clock.now += 1
    clock.now += SETTLED
    rest.used = 100 * MB
    rest.stay()
    rest.look()
    assert rest.unloaded == []
    rest.used += 1
    rest.stay()
    rest.look()
    assert rest.unloaded == [("shop", 1, "memory")]
    rest.look()
    assert len(rest.unloaded) == 1, "nobody knows yet what that has freed"
    await rest.give_back()
    rest.look()
    assert rest.unloaded[1:] == [("wiki", 1, "memory")]
    await rest.give_back()
    await visit(registry, get, "blog")
    for _ in range(3):
        rest.look()
    assert len(rest.unloaded) == 2, "it has just been used"
    assert caplog.text.count("the process has 100 MB, and 100 as its budget") == 1
    clock.now += SETTLED
    await visit(registry, get, "shop", "wiki")
    clock.now += SETTLED
    rest.used = 150 * MB
    rest.stay()
    rest.look()
    assert [name for name, _, _ in rest.unloaded[2:]] == ["blog"], "one is worth 50 MB of 150"


async def test_what_grows_is_met_before_it_is_there(
    registry: Registry, clock: Any, get: Any
) -> None:
    rest = Watched(registry, clock, budget=100 * MB)
    await visit(registry, get, "blog", "shop")
    clock.now += SETTLED
    rest.used = 50 * MB
    rest.stay()
    rest.used += 8 * MB  # in a second
    rest.look()
    assert rest.unloaded == []
    rest.used += 8 * MB
    rest.look()
    assert [why for _, _, why in rest.unloaded] == ["memory"]
    await rest.give_back()


async def test_it_looks_by_itself(registry: Registry, clock: Any, get: Any) -> None:
    unloaded = asyncio.Event()
    registry.events.subscribe(lambda event: unloaded.set() if isinstance(event, Rested) else None)
    await visit(registry, get, "shop")
    clock.now += HOUR
    reclaim = asyncio.Event().wait
    async with IdleSites(registry, Budget(), reclaim, look=0.01, clock=clock):
        await asyncio.wait_for(unloaded.wait(), 5)


def test_the_memory_of_this_process() -> None:
    assert 10 << 20 < resident() < 100 << 30
