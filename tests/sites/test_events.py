"""What happens to the sites is told to whoever subscribes, and stops for none of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import Fault
from gateway.sites.events import (
    IDLENESS,
    THE_STOP,
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
    Swapped,
    Unloaded,
)
from gateway.sites.gate import Mode
from gateway.sites.registry import Registry
from gateway.sites.reloads import Reloads
from gateway.sites.site import Site

pytestmark = pytest.mark.anyio
OPERATOR = Cause("reload", "token 192.0.2.1")
VISITOR = Cause("load", "request")


def numbered(number: int) -> SiteEvent:
    return Idled("shop", number, IDLENESS)


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
    assert served.take() == [Loading("shop", 1, VISITOR), Loaded("shop", 1, VISITOR, 0.0)]

    await served.reloads.reload(["shop"], OPERATOR)
    await backend.unloaded.wait()
    await asyncio.sleep(0)
    assert served.take() == [
        Loading("shop", 2, OPERATOR),
        Loaded("shop", 2, OPERATOR, 0.0),
        Swapped("shop", 2, OPERATOR, 1),
        Unloaded("shop", 1, OPERATOR),
    ]

    backend.errors["shop"] = ValueError("not today")
    await served.reloads.reload(["shop"], OPERATOR)
    begun, failed = served.take()
    assert begun == Loading("shop", 3, OPERATOR)
    assert isinstance(failed, Failed) and "not today" in failed.reason

    one, other = Cause("mode", "one"), Cause("mode", "other")
    served.registry.set_modes({"shop": Mode.PAUSED}, one)
    served.registry.set_modes({"shop": Mode.PAUSED}, other)
    served.registry.set_modes({"shop": Mode.OPEN}, other)
    assert served.take() == [ModeChanged("shop", "paused", one), ModeChanged("shop", "open", other)]

    served.file[0] = config()
    edit = Cause("reload", "file")
    backend.unloaded.clear()
    await served.reloads.refresh(edit)
    await backend.unloaded.wait()
    await asyncio.sleep(0)
    assert served.take() == [Removed("shop", 3, edit), Unloaded("shop", 2, edit)]


async def test_an_idle_site_and_the_end(served: Served, get: Any, config: Any) -> None:
    site = served.registry.find("shop.example")
    assert isinstance(site, Site)
    await get(site)
    served.take()
    unload = site.unload_if_idle(IDLENESS)
    assert unload is not None
    await unload
    await asyncio.sleep(0)
    assert served.take() == [Idled("shop", 1, IDLENESS), Unloaded("shop", 1, IDLENESS)]
    await get(site)
    served.take()
    await site.close(THE_STOP)
    assert served.take() == [Unloaded("shop", 2, THE_STOP)]


async def test_new_code_that_does_not_pass_its_probe_is_unloaded_for_who_wanted_it(
    config: Any, backend: Any, clock: Any
) -> None:
    sites, told = config("shop"), []
    backend.broken = {2}
    events = Events()
    events.subscribe(told.append)
    async with Registry(sites, backend, clock=clock, events=events) as registry:
        site = registry.find("shop.example")
        assert isinstance(site, Site)
        await site.load()
        told.clear()
        await site.reload(OPERATOR)
        await backend.unloaded.wait()
        await asyncio.sleep(0)
        assert [type(event) for event in told] == [Loading, Failed, Unloaded]
        assert told[-1] == Unloaded("shop", 2, OPERATOR)


async def test_new_code_that_does_not_pass_a_probe_that_the_old_does_not_pass_either(
    config: Any, backend: Any, clock: Any
) -> None:
    sites, told = config("shop"), []
    backend.broken = {1, 2}
    events = Events()
    events.subscribe(told.append)
    async with (
        Registry(sites, backend, clock=clock, events=events) as registry,
        Reloads(registry, lambda _: sites, clock=clock) as reloads,
    ):
        await reloads.reload(["shop"], OPERATOR)
        report = await reloads.reload(["shop"], OPERATOR)
        outcome = report.sites["shop"]
        assert (outcome.outcome, outcome.generation, outcome.error) == ("reloaded", 2, None)
        assert outcome.warning == (
            "the probe GET / failed: RuntimeError: the password is ********; "
            "that of generation 1, which it replaces, failed too"
        )
        assert Loaded("shop", 2, OPERATOR, 0.0, outcome.warning) in told
        # It is said of the generation that it was true for.
        report = await reloads.reload(["shop"], OPERATOR)
        assert report.sites["shop"].warning is None


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


async def test_who_is_unsubscribed_or_subscribed_amid_an_event_is_in_the_next_one() -> None:
    events, told = Events(), []

    def first(event: Happening) -> None:
        unsubscribe()
        events.subscribe(lambda event: told.append(("new", event)))

    events.subscribe(first)
    unsubscribe = events.subscribe(lambda event: told.append(("leaving", event)))
    events.publish(numbered(1))
    assert told == [("leaving", numbered(1))]
    events.publish(numbered(2))
    assert told[1:] == [("new", numbered(2))]


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
