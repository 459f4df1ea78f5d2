"""Reloads: what a new configuration changes, how reloads queue, faults of the file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from gateway.config import Config
from gateway.errors import ConfigError, Fault, LoadError, UnknownSiteError
from gateway.sites.registry import Registry
from gateway.sites.reloads import LOADS_AT_ONCE, Reloads, Report
from gateway.sites.state import State

pytestmark = pytest.mark.anyio

FAULT = Fault("$.sites.shop.hosts[0]", "no host name", "shop")


class File:
    """A ``sites.json`` whose next reading is told; ``opened`` counts them.

    ``names`` are the sites for whose sake it was read last.
    """

    def __init__(self) -> None:
        self.content: Config | list[Fault] | Exception = []
        self.opened = 0
        self.names: frozenset[str] | None = None
        self.reading = asyncio.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self._loop = asyncio.get_running_loop()

    def read(self, names: frozenset[str]) -> Config:
        content = self.content
        self.opened += 1
        self.names = names
        self._loop.call_soon_threadsafe(self.reading.set)
        assert self.go_on.wait(10)
        if isinstance(content, Config):
            return content
        raise content if isinstance(content, Exception) else ConfigError(content)


@pytest.fixture
async def file(anyio_backend: str) -> File:
    return File()


@pytest.fixture
def serving(backend: Any, file: File, clock: Any) -> Callable[..., Any]:
    """Makes a registry of a configuration, which is also what its file holds, and its reloads."""

    @asynccontextmanager
    async def make(config: Config, **options: Any) -> AsyncIterator[tuple[Registry, Reloads]]:
        file.content = config
        async with (
            Registry(config, backend, clock=clock, **options) as registry,
            Reloads(registry, file.read, clock=clock) as reloads,
        ):
            yield registry, reloads

    return make


def outcomes(report: Report) -> dict[str, tuple[str, int]]:
    return {name: (o.outcome.value, o.generation) for name, o in report.sites.items()}


# A wrong file


async def test_a_file_with_faults_changes_nothing(
    serving: Any, config: Any, backend: Any, file: File, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(config("shop")) as (sites, reloads):
        await sites.find("shop.example").load()
        file.content = [FAULT]
        for _ in range(2):
            with pytest.raises(ConfigError):
                await reloads.reload()
        assert sites.find("shop.example").status().generation == 1
        assert sites.status().degraded
        assert sites.status().faults == (FAULT,)
        assert caplog.text.count("$.sites.shop.hosts[0]: no host name") == 1
        file.content = config("shop")
        await reloads.refresh()
        assert not sites.status().degraded
        assert "valid again" in caplog.text
        assert backend.loads == [("shop", 1)]


async def test_faults_of_others_are_no_hindrance_to_a_site_that_is_named(
    serving: Any, config: Any, backend: Any, file: File
) -> None:
    async with serving(config("shop", "blog", "wiki")) as (sites, reloads):
        for name in ("shop", "blog"):
            await sites.find(f"{name}.example").load()
        broken = config("shop", faulty=("blog",))
        file.content = replace(
            broken, sites={"shop": replace(broken.sites["shop"], env=MappingProxyType({"A": "b"}))}
        )
        assert outcomes(await reloads.reload(["shop"])) == {"shop": ("reloaded", 2)}
        # The entry of the site counts, and nothing else of the file.
        assert sites.find("shop.example").config.env == {"A": "b"}
        assert sites.find("blog.example").status().generation == 1
        assert sites.find("wiki.example") is not None
        assert sites.status().faults == broken.faults
        for names in (["blog"], ["wiki"], ["nope"], ["shop", "blog"], []):
            with pytest.raises(ConfigError):
                await reloads.reload(names)
        assert backend.loads == [("shop", 1), ("blog", 1), ("shop", 2)]


async def test_a_site_whose_hosts_change_waits_for_the_others(
    serving: Any, config: Any, file: File
) -> None:
    async with serving(config("shop", "blog")) as (sites, reloads):
        broken = config("shop", faulty=("blog",))
        moved = replace(broken.sites["shop"], hosts=("blog.example",))
        file.content = replace(broken, sites={"shop": moved})
        with pytest.raises(ConfigError):
            await reloads.reload(["shop"])
        assert sites.find("shop.example") is not None


async def test_reloads_that_share_a_run_are_judged_apart(
    serving: Any, config: Any, backend: Any, file: File
) -> None:
    async with serving(config("shop", "blog")) as (_, reloads):
        file.go_on.clear()
        first = asyncio.create_task(reloads.refresh())
        await file.reading.wait()
        file.content = config("shop", faulty=("blog",))
        asked = [["shop"], ["blog"], [], ["shop", "blog"]]
        tasks = [asyncio.create_task(reloads.reload(names)) for names in asked]
        tasks.append(asyncio.create_task(reloads.refresh()))
        await asyncio.sleep(0)
        file.go_on.set()
        await first
        report, *refused = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcomes(report) == {"shop": ("loaded", 1)}
        assert [type(error) for error in refused] == [ConfigError] * 4
        assert file.opened == 2
        assert backend.loads == [("shop", 1)]


async def test_an_unknown_name_is_an_error_but_the_file_is_applied(
    serving: Any, config: Any, file: File
) -> None:
    async with serving(config("shop")) as (sites, reloads):
        file.content = config("shop", "blog")
        with pytest.raises(UnknownSiteError, match="'nope'"):
            await reloads.reload(["nope", "shop"])
        assert sites.find("blog.example") is not None


async def test_a_site_that_the_file_no_longer_has_is_unknown(
    serving: Any, config: Any, file: File
) -> None:
    async with serving(config("shop", "blog")) as (sites, reloads):
        file.content = config("shop")
        with pytest.raises(UnknownSiteError):
            await reloads.reload(["blog"])
        assert sites.find("blog.example") is None


async def test_an_error_that_nobody_expects_leaves_the_registry_usable(
    serving: Any, config: Any, file: File
) -> None:
    right = config("shop")
    async with serving(right) as (_, reloads):
        file.content = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            await reloads.reload()
        file.content = right
        assert outcomes(await reloads.reload()) == {"shop": ("unchanged", 0)}


async def test_faulty_sites_fail_alone_and_load_once_the_file_is_right(
    serving: Any, config: Any, file: File, get: Any
) -> None:
    first = config("shop", faulty=("blog",))
    async with serving(first, faults=first.faults) as (sites, reloads):
        assert (await get(sites.find("blog.example"))).status_code == 503
        assert (await get(sites.find("shop.example"))).text == "shop 1"
        assert sites.site_status("blog").state is State.FAILED
        assert sites.status().degraded
        assert sites.faulty
        file.content = config("shop", "blog")
        assert outcomes(await reloads.refresh()) == {"blog": ("loaded", 1)}
        assert not sites.status().degraded


# What a changed file does


async def test_hosts_follow_the_file_before_the_code_has_loaded(
    serving: Any, config: Any, entry: Any, backend: Any, file: File, get: Any
) -> None:
    async with serving(config("shop", "blog")) as (sites, reloads):
        await sites.find("shop.example").load()
        loaded = backend.hold("shop")
        file.content = config(entry("shop", hosts=("new.example",)), "blog")
        refresh = asyncio.create_task(reloads.refresh())
        await backend.loading["shop"].wait()
        assert sites.find("shop.example") is None
        assert (await get(sites.find("new.example"))).text == "shop 1"
        loaded.set()
        assert outcomes(await refresh) == {"shop": ("reloaded", 2)}


async def test_exactly_the_changed_sites_are_reloaded(
    serving: Any, config: Any, entry: Any, backend: Any, file: File
) -> None:
    async with serving(config("shop", "blog", "wiki")) as (sites, reloads):
        for name in ("shop", "blog"):
            await sites.find(f"{name}.example").load()
        file.content = config(
            entry("shop", env={"A": "1"}), "blog", entry("wiki", env={"A": "1"}), "news"
        )
        assert outcomes(await reloads.refresh()) == {
            "shop": ("reloaded", 2),
            "wiki": ("unchanged", 0),
            "news": ("added", 0),
        }
        assert outcomes(await reloads.refresh()) == {}
        await sites.find("wiki.example").load()
        assert backend.configs[-1].env == {"A": "1"}


async def test_a_changed_site_that_fails_keeps_serving(
    serving: Any, config: Any, entry: Any, backend: Any, file: File, get: Any
) -> None:
    async with serving(config("shop")) as (sites, reloads):
        await sites.find("shop.example").load()
        backend.errors["shop"] = LoadError("SyntaxError: oops")
        file.content = config(entry("shop", env={}))
        report = await reloads.refresh()
        assert report.failed
        assert report.sites["shop"].error == "SyntaxError: oops"
        assert outcomes(report) == {"shop": ("failed", 1)}
        assert (await get(sites.find("shop.example"))).text == "shop 1"
        assert sites.status().degraded


async def test_a_failed_site_is_tried_again_when_its_entry_changes(
    serving: Any, config: Any, entry: Any, backend: Any, file: File
) -> None:
    async with serving(config("shop")) as (sites, reloads):
        backend.errors["shop"] = LoadError("no")
        await sites.find("shop.example").load()
        backend.errors.clear()
        assert outcomes(await reloads.refresh()) == {}
        file.content = config(entry("shop", env={}))
        assert outcomes(await reloads.refresh()) == {"shop": ("loaded", 2)}


async def test_a_removed_site_leaves_at_once_and_is_unloaded_after_its_requests(
    serving: Any, config: Any, backend: Any, file: File, get: Any
) -> None:
    async with serving(config("shop", "blog")) as (sites, reloads):
        slow = asyncio.create_task(get(sites.find("shop.example"), "/slow"))
        await backend.busy.wait()
        file.content = config("blog")
        assert outcomes(await reloads.reload()) == {
            "blog": ("unchanged", 0),
            "shop": ("removed", 1),
        }
        assert sites.find("shop.example") is None
        assert backend.closed == []
        backend.release.set()
        assert (await slow).text == "shop 1"
        await backend.unloaded.wait()
        file.content = config("shop", "blog")
        await reloads.reload(["shop"])
        assert backend.loads[-1] == ("shop", 2), "a number was used twice"


async def test_a_new_site_that_wants_it_is_loaded(
    serving: Any, config: Any, entry: Any, file: File
) -> None:
    async with serving(config()) as (_, reloads):
        file.content = config(entry("shop", preload=True))
        assert outcomes(await reloads.refresh()) == {"shop": ("loaded", 1)}


async def test_an_empty_file_is_valid(serving: Any, config: Any) -> None:
    async with serving(config()) as (sites, reloads):
        assert outcomes(await reloads.reload()) == {}
        assert sites.find("shop.example") is None


# What is reloaded without a change


async def test_a_reload_is_for_loaded_and_failed_sites(
    serving: Any, config: Any, backend: Any
) -> None:
    async with serving(config("shop", "blog", "wiki")) as (sites, reloads):
        backend.errors["blog"] = LoadError("no")
        for name in ("shop", "blog"):
            await sites.find(f"{name}.example").load()
        backend.errors.clear()
        assert outcomes(await reloads.reload()) == {
            "shop": ("reloaded", 2),
            "blog": ("loaded", 2),
            "wiki": ("unchanged", 0),
        }


@pytest.mark.parametrize("state", ["ready", "failed", "cold"])
async def test_a_reload_of_all_leaves_sites_alone_that_are_set_aside(
    serving: Any, config: Any, entry: Any, backend: Any, state: str
) -> None:
    async with serving(config(entry("shop", preload=True), "blog")) as (sites, reloads):
        shop = sites.find("shop.example")
        await sites.find("blog.example").load()
        if state == "failed":
            backend.errors["shop"] = LoadError("no")
        if state != "cold":
            await shop.load()
        backend.errors.clear()
        before = shop.status()
        assert before.state == state
        sites.set_aside({"shop": "it ended two workers"})
        assert outcomes(await reloads.reload()) == {
            "shop": ("unchanged", before.generation),
            "blog": ("reloaded", 2),
        }
        assert shop.status().state == state
        report = await reloads.reload(["shop"])
        assert report.sites["shop"].outcome in {"reloaded", "loaded"}


async def test_a_named_site_is_loaded_if_it_is_cold_and_no_other_is_touched(
    serving: Any, config: Any, backend: Any
) -> None:
    async with serving(config("shop", "blog")) as (sites, reloads):
        await sites.find("blog.example").load()
        assert outcomes(await reloads.reload(["shop"])) == {"shop": ("loaded", 1)}
        assert outcomes(await reloads.reload(["shop"])) == {"shop": ("reloaded", 2)}
        assert backend.loads == [("blog", 1), ("shop", 1), ("shop", 2)]


async def test_files_of_other_sites_are_looked_at_unless_some_are_named(
    serving: Any, config: Any, file: File
) -> None:
    async with serving(config("shop", "blog")) as (_, reloads):
        await reloads.reload(["shop"])
        assert file.names == {"shop"}
        await reloads.refresh()
        assert file.names == frozenset()
        await reloads.reload()
        assert file.names == frozenset()
        # Those that share a run share what it has to look at.
        await asyncio.gather(reloads.reload(["shop"]), reloads.reload(["blog"]))
        assert file.names == {"shop", "blog"}
        for other in (reloads.refresh, reloads.reload):
            await asyncio.gather(reloads.reload(["shop"]), other())
            assert file.names == frozenset()
            await asyncio.gather(other(), reloads.reload(["shop"]))
            assert file.names == frozenset()


# Queues


async def test_reloads_that_come_while_one_runs_share_the_next(
    serving: Any, config: Any, backend: Any, file: File
) -> None:
    async with serving(config("shop", "blog", "wiki")) as (_, reloads):
        loaded = backend.hold("shop")
        first = asyncio.create_task(reloads.reload(["shop"]))
        await backend.loading["shop"].wait()
        later = [
            asyncio.create_task(reloads.reload(names))
            for names in (["blog"], ["wiki"], ["nope"], ["blog"])
        ]
        await asyncio.sleep(0)  # the tasks begin
        loaded.set()
        assert outcomes(await first) == {"shop": ("loaded", 1)}
        results = await asyncio.gather(*later, return_exceptions=True)
        assert isinstance(results[2], UnknownSiteError)
        assert [outcomes(results[i]) for i in (0, 1, 3)] == [
            {"blog": ("loaded", 1)},
            {"wiki": ("loaded", 1)},
            {"blog": ("loaded", 1)},
        ]
        assert file.opened == 2
        assert sorted(backend.loads) == [("blog", 1), ("shop", 1), ("wiki", 1)]


async def test_a_reload_that_comes_while_the_file_is_read_reads_it_again(
    serving: Any, config: Any, file: File
) -> None:
    async with serving(config("shop")) as (_, reloads):
        file.go_on.clear()
        first = asyncio.create_task(reloads.refresh())
        await file.reading.wait()
        file.content = config("shop", "blog")
        second = asyncio.create_task(reloads.refresh())
        await asyncio.sleep(0)  # the task begins
        file.go_on.set()
        assert outcomes(await first) == {}
        assert outcomes(await second) == {"blog": ("added", 0)}


async def test_a_caller_that_leaves_does_not_stop_the_reload(
    serving: Any, config: Any, backend: Any
) -> None:
    async with serving(config("shop")) as (_, reloads):
        loaded = backend.hold("shop")
        caller = asyncio.create_task(reloads.reload(["shop"]))
        await backend.loading["shop"].wait()
        caller.cancel()
        await asyncio.wait({caller})
        loaded.set()
        assert outcomes(await reloads.reload()) == {"shop": ("reloaded", 2)}


async def test_preloading_brings_up_a_few_at_a_time(
    serving: Any, config: Any, entry: Any, backend: Any
) -> None:
    names = ("shop", "blog", "wiki")
    entries = [entry(name, preload=True) for name in names]
    async with serving(config(*entries, "cold")) as (_, reloads):
        held = {name: backend.hold(name) for name in names}
        reloads.preload()
        await backend.loading["shop"].wait()
        await backend.loading["blog"].wait()
        assert len(backend.loads) == LOADS_AT_ONCE
        for event in held.values():
            event.set()
        await backend.loading["wiki"].wait()
        assert ("cold", 1) not in backend.loads


async def test_a_site_that_leaves_while_it_waits_for_its_turn_is_removed(
    serving: Any, config: Any, backend: Any, file: File
) -> None:
    names = ("shop", "blog", "wiki")
    async with serving(config(*names)) as (sites, reloads):
        for name in names:
            await sites.find(f"{name}.example").load()
        held = [backend.hold(name) for name in names[:2]]
        reload = asyncio.create_task(reloads.reload())
        for name in names[:2]:
            await backend.loading[name].wait()
        file.content = config(*names[:2])
        await reloads.refresh()
        for event in held:
            event.set()
        assert outcomes(await reload) == {
            "shop": ("reloaded", 2),
            "blog": ("reloaded", 2),
            "wiki": ("removed", 0),
        }


# The end


async def test_leaving_unloads_everything_and_abandons_loads(
    serving: Any, config: Any, entry: Any, backend: Any, file: File, get: Any
) -> None:
    async with serving(config("shop", "blog", entry("wiki", preload=True))) as (sites, reloads):
        backend.hold("wiki")
        reloads.preload()
        await sites.find("shop.example").load()
        slow = asyncio.create_task(get(sites.find("blog.example"), "/slow"))
        await backend.busy.wait()
        await backend.loading["wiki"].wait()
        # A reload has just removed the blog and is bringing up a new shop.
        backend.hold("shop")
        file.content = config("shop", entry("wiki", preload=True))
        reload = asyncio.create_task(reloads.reload())
        await backend.loading["shop"].wait()
        backend.release.set()
        assert (await slow).text == "blog 1"
    assert sorted(backend.closed) == [("blog", 1), ("shop", 1)]
    assert sorted(backend.cancelled) == ["shop", "wiki"]
    await asyncio.wait({reload})
