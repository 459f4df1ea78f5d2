"""Which sites are unloaded when nobody uses them, and which are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import LoadError
from gateway.limits import Limits
from gateway.modes import Mode
from gateway.registry import Registry
from gateway.rest import SETTLED, Rest, resident
from gateway.state import State

pytestmark = pytest.mark.anyio

HOUR = 3600.0


@pytest.fixture
async def registry(config: Any, entry: Any, backend: Any, clock: Any) -> AsyncIterator[Registry]:
    """Three sites; one has an ``idle_timeout`` of an hour."""
    sites = config(entry("shop", limits=Limits(idle_timeout=HOUR)), "blog", "wiki")
    async with Registry(sites, backend, lambda: sites, clock=clock) as registry:
        yield registry


class Watched(Rest):
    """Its memory is what a test says; it notes what was unloaded."""

    def __init__(self, registry: Registry, clock: Any, budget: int = 0) -> None:
        self.used = 0
        self.unloaded: list[tuple[str, int, str]] = []
        super().__init__(
            registry,
            budget,
            lambda *event: self.unloaded.append(event),
            memory=lambda: self.used,
            clock=clock,
        )


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


async def test_the_least_recently_used_goes_first_and_one_at_a_time(
    registry: Registry, clock: Any, get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rest = Watched(registry, clock, budget=100 << 20)
    for name in ("blog", "shop", "wiki", "blog"):
        await visit(registry, get, name)
        clock.now += 1
    clock.now += SETTLED
    rest.used = 100 << 20
    rest.look()
    assert rest.unloaded == []
    rest.used += 1
    rest.look()
    assert rest.unloaded == [("shop", 1, "memory")]
    rest.look()
    assert rest.unloaded[1:] == [("wiki", 1, "memory")]
    await visit(registry, get, "blog")
    for _ in range(3):
        rest.look()
    assert len(rest.unloaded) == 2, "it has just been used"
    assert caplog.text.count("the process has 100 MB, and 100 as its budget") == 1


async def test_it_looks_by_itself(registry: Registry, clock: Any, get: Any) -> None:
    unloaded = asyncio.Event()
    await visit(registry, get, "shop")
    clock.now += HOUR
    async with Rest(registry, 0, lambda *_: unloaded.set(), look=0.01, clock=clock):
        await asyncio.wait_for(unloaded.wait(), 5)


def test_the_memory_of_this_process() -> None:
    assert 10 << 20 < resident() < 100 << 30
