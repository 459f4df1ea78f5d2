"""What happens to the sites is told to whoever subscribes, and stops for none of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import Fault
from gateway.sites.events import (
    Cause,
    Events,
    Failed,
    FaultsChanged,
    Happening,
    Idled,
    Loaded,
    Loading,
    ModeChanged,
    Removed,
    SiteEvent,
    Unloaded,
)
from gateway.sites.gate import Mode
from gateway.sites.registry import Registry
from gateway.sites.reloads import Reloads

pytestmark = pytest.mark.anyio
OPERATOR = Cause("reload", "token 192.0.2.1")


def numbered(number: int) -> SiteEvent:
    return Idled("shop", number, "idle")


class Served:
    """A registry of one site, and what it has published."""

    def __init__(self, registry: Registry, reloads: Reloads, file: list[Any]) -> None:
        self.registry = registry
        self.reloads = reloads
        self.file = file
        self.told: list[Happening] = []
        registry.events.subscribe(self.told.append)

    def take(self) -> list[Happening]:
        """What was told since the last time."""
        told, self.told[:] = list(self.told), []
        return told


@pytest.fixture
async def served(config: Any, backend: Any, clock: Any) -> AsyncIterator[Served]:
    file = [config("shop")]
    async with (
        Registry(file[0], backend, clock=clock, events=Events()) as registry,
        Reloads(registry, lambda _: file[0], clock=clock) as reloads,
    ):
        yield Served(registry, reloads, file)


async def test_the_life_of_a_site_and_who_wanted_it(
    served: Served, get: Any, backend: Any, config: Any
) -> None:
    site = served.registry.find("shop.example")
    await get(site)
    visitor = Cause("load", "request")
    assert served.take() == [Loading("shop", 1, visitor), Loaded("shop", 1, visitor, 0.0, 0)]

    await served.reloads.reload(["shop"], OPERATOR)
    await backend.unloaded.wait()
    await asyncio.sleep(0)
    assert served.take() == [
        Loading("shop", 2, OPERATOR),
        Loaded("shop", 2, OPERATOR, 0.0, 1),
        Unloaded("shop", 1),
    ]

    backend.errors["shop"] = ValueError("not today")
    await served.reloads.reload(["shop"], OPERATOR)
    begun, failed = served.take()
    assert begun == Loading("shop", 3, OPERATOR)
    assert isinstance(failed, Failed) and "not today" in failed.reason

    served.registry.set_modes({"shop": Mode.PAUSED})
    served.registry.set_modes({"shop": Mode.PAUSED})
    served.registry.set_modes({"shop": Mode.OPEN})
    assert served.take() == [ModeChanged("shop", "paused"), ModeChanged("shop", "open")]

    served.file[0] = config()
    await served.reloads.refresh(Cause("reload", "file"))
    (removed,) = [event for event in served.take() if isinstance(event, Removed)]
    assert removed.cause.asker == "file"


async def test_two_who_share_a_reload_are_told_apart(config: Any, backend: Any, clock: Any) -> None:
    sites = config("shop", "blog")
    told: list[Happening] = []
    events = Events()
    events.subscribe(told.append)
    async with (
        Registry(sites, backend, clock=clock, events=events) as registry,
        Reloads(registry, lambda _: sites, clock=clock) as reloads,
    ):
        one, other = Cause("reload", "one"), Cause("reload", "other")
        await asyncio.gather(reloads.reload(["shop"], one), reloads.reload(["blog"], other))
    loaded = {event.site: event.cause for event in told if isinstance(event, Loaded)}
    assert loaded == {"shop": one, "blog": other}


async def test_a_subscriber_that_raises_stops_neither_the_swap_nor_the_others(
    served: Served, get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(_: Happening) -> None:
        raise RuntimeError("I am broken")

    served.registry.events.subscribe(raises)
    later: list[Happening] = []
    served.registry.events.subscribe(later.append)
    site = served.registry.find("shop.example")
    assert (await get(site)).text == "shop 1"
    report = await served.reloads.reload(["shop"], OPERATOR)
    assert not report.failed
    assert (await get(site)).text == "shop 2"
    assert later == served.take()
    assert "I am broken" in caplog.text
    assert "a subscriber to Loaded failed" in caplog.text


async def test_who_unsubscribes_is_told_no_more_also_amid_an_event() -> None:
    events, told = Events(), []

    def once(event: Happening) -> None:
        told.append(event)
        unsubscribe()

    unsubscribe = events.subscribe(once)
    events.subscribe(told.append)
    events.publish(numbered(1))
    events.publish(numbered(2))
    unsubscribe()  # a second time does no harm
    assert told == [numbered(1), numbered(1), numbered(2)]


async def test_a_slow_reader_holds_up_nobody_and_gets_the_newest() -> None:
    events = Events()
    with events.stream(kept=3) as stream:
        for number in range(10):
            events.publish(numbered(number))
        got = []
        async for event in stream:
            got.append(event)
            if len(got) == 3:
                break
        assert got == [numbered(7), numbered(8), numbered(9)]
        assert stream.missed == 7


async def test_a_reader_waits_for_what_comes() -> None:
    events = Events()
    with events.stream() as stream:
        reader = asyncio.ensure_future(anext(aiter(stream)))
        await asyncio.sleep(0)
        assert not reader.done()
        events.publish(FaultsChanged((Fault("$", "no JSON"),)))
        assert await reader == FaultsChanged((Fault("$", "no JSON"),))
    events.publish(numbered(1))
    assert not stream.missed
