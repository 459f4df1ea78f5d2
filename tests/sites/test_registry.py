"""All sites: what a new configuration changes, reloads and how they queue, faults."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gateway.config import Config
from gateway.errors import ConfigError, Fault, LoadError, UnknownSiteError
from gateway.sites.registry import LOADS_AT_ONCE, Registry, Report
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
def registry(backend: Any, file: File, clock: Any) -> Callable[..., Registry]:
    """Makes a registry of a configuration, which is also what its file holds."""

    def make(config: Config, **options: Any) -> Registry:
        file.content = config
        return Registry(config, backend, file.read, clock=clock, **options)

    return make


def outcomes(report: Report) -> dict[str, tuple[str, int]]:
    return {name: (o.outcome.value, o.generation) for name, o in report.sites.items()}


# A wrong file


async def test_a_file_with_faults_changes_nothing(
    registry: Any, config: Any, backend: Any, file: File, caplog: pytest.LogCaptureFixture
) -> None:
    async with registry(config("shop")) as sites:
        await sites.find("shop.example").load()
        file.content = [FAULT]
        for _ in range(2):
            with pytest.raises(ConfigError):
                await sites.reload()
        assert sites.find("shop.example").status().generation == 1
        assert sites.status().degraded
        assert sites.status().faults == (FAULT,)
        assert caplog.text.count("$.sites.shop.hosts[0]: no host name") == 1
        file.content = config("shop")
        await sites.refresh()
        assert not sites.status().degraded
        assert "valid again" in caplog.text
        assert backend.loads == [("shop", 1)]


async def test_an_unknown_name_is_an_error_but_the_file_is_applied(
    registry: Any, config: Any, file: File
) -> None:
    async with registry(config("shop")) as sites:
        file.content = config("shop", "blog")
        with pytest.raises(UnknownSiteError, match="'nope'"):
            await sites.reload(["nope", "shop"])
        assert sites.find("blog.example") is not None


async def test_a_site_that_the_file_no_longer_has_is_unknown(
    registry: Any, config: Any, file: File
) -> None:
    async with registry(config("shop", "blog")) as sites:
        file.content = config("shop")
        with pytest.raises(UnknownSiteError):
            await sites.reload(["blog"])
        assert sites.find("blog.example") is None


async def test_an_error_that_nobody_expects_leaves_the_registry_usable(
    registry: Any, config: Any, file: File
) -> None:
    right = config("shop")
    async with registry(right) as sites:
        file.content = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            await sites.reload()
        file.content = right
        assert outcomes(await sites.reload()) == {"shop": ("unchanged", 0)}


async def test_faulty_sites_fail_alone_and_load_once_the_file_is_right(
    registry: Any, config: Any, file: File, get: Any
) -> None:
    first = config("shop", faulty=("blog",))
    async with registry(first, faults=first.faults) as sites:
        assert (await get(sites.find("blog.example"))).status_code == 503
        assert (await get(sites.find("shop.example"))).text == "shop 1"
        assert sites.site_status("blog").state is State.FAILED
        assert sites.status().degraded
        assert sites.faulty
        file.content = config("shop", "blog")
        assert outcomes(await sites.refresh()) == {"blog": ("loaded", 1)}
        assert not sites.status().degraded


async def test_a_fault_of_no_site_degrades_too(registry: Any, config: Any) -> None:
    general = Fault("$.default_site", "there is no site 'x'")
    async with registry(config("shop"), faults=(general,)) as sites:
        assert sites.status().degraded
        assert sites.status().faults == (general,)


async def test_a_default_site_can_be_a_faulty_one(registry: Any, config: Any, get: Any) -> None:
    async with registry(config("shop", faulty=("blog",), default_site="blog")) as sites:
        assert (await get(sites.find("else.example"))).status_code == 503


# What a changed file does


async def test_hosts_follow_the_file_before_the_code_has_loaded(
    registry: Any, config: Any, entry: Any, backend: Any, file: File, get: Any
) -> None:
    async with registry(config("shop", "blog")) as sites:
        await sites.find("shop.example").load()
        loaded = backend.hold("shop")
        file.content = config(entry("shop", hosts=("new.example",)), "blog")
        refresh = asyncio.create_task(sites.refresh())
        await backend.loading["shop"].wait()
        assert sites.find("shop.example") is None
        assert (await get(sites.find("new.example"))).text == "shop 1"
        loaded.set()
        assert outcomes(await refresh) == {"shop": ("reloaded", 2)}


async def test_exactly_the_changed_sites_are_reloaded(
    registry: Any, config: Any, entry: Any, backend: Any, file: File
) -> None:
    async with registry(config("shop", "blog", "wiki")) as sites:
        for name in ("shop", "blog"):
            await sites.find(f"{name}.example").load()
        file.content = config(
            entry("shop", env={"A": "1"}), "blog", entry("wiki", env={"A": "1"}), "news"
        )
        assert outcomes(await sites.refresh()) == {
            "shop": ("reloaded", 2),
            "wiki": ("unchanged", 0),
            "news": ("added", 0),
        }
        assert outcomes(await sites.refresh()) == {}
        await sites.find("wiki.example").load()
        assert backend.configs[-1].env == {"A": "1"}


async def test_a_changed_site_that_fails_keeps_serving(
    registry: Any, config: Any, entry: Any, backend: Any, file: File, get: Any
) -> None:
    async with registry(config("shop")) as sites:
        await sites.find("shop.example").load()
        backend.errors["shop"] = LoadError("SyntaxError: oops")
        file.content = config(entry("shop", env={}))
        report = await sites.refresh()
        assert report.failed
        assert report.sites["shop"].error == "SyntaxError: oops"
        assert outcomes(report) == {"shop": ("failed", 1)}
        assert (await get(sites.find("shop.example"))).text == "shop 1"
        assert sites.status().degraded


async def test_a_failed_site_is_tried_again_when_its_entry_changes(
    registry: Any, config: Any, entry: Any, backend: Any, file: File
) -> None:
    async with registry(config("shop")) as sites:
        backend.errors["shop"] = LoadError("no")
        await sites.find("shop.example").load()
        backend.errors.clear()
        assert outcomes(await sites.refresh()) == {}
        file.content = config(entry("shop", env={}))
        assert outcomes(await sites.refresh()) == {"shop": ("loaded", 1)}


async def test_a_removed_site_leaves_at_once_and_is_unloaded_after_its_requests(
    registry: Any, config: Any, backend: Any, file: File, get: Any
) -> None:
    async with registry(config("shop", "blog")) as sites:
        slow = asyncio.create_task(get(sites.find("shop.example"), "/slow"))
        await backend.busy.wait()
        file.content = config("blog")
        assert outcomes(await sites.reload()) == {
            "blog": ("unchanged", 0),
            "shop": ("removed", 1),
        }
        assert sites.find("shop.example") is None
        assert backend.closed == []
        backend.release.set()
        assert (await slow).text == "shop 1"
        await backend.unloaded.wait()
        file.content = config("shop", "blog")
        await sites.reload(["shop"])
        assert backend.loads[-1] == ("shop", 2), "a number was used twice"


async def test_a_new_site_that_wants_it_is_loaded(
    registry: Any, config: Any, entry: Any, file: File
) -> None:
    async with registry(config()) as sites:
        file.content = config(entry("shop", preload=True))
        assert outcomes(await sites.refresh()) == {"shop": ("loaded", 1)}


async def test_an_empty_file_is_valid(registry: Any, config: Any) -> None:
    async with registry(config()) as sites:
        assert outcomes(await sites.reload()) == {}
        assert sites.find("shop.example") is None


# What is reloaded without a change


async def test_a_reload_is_for_loaded_and_failed_sites(
    registry: Any, config: Any, backend: Any
) -> None:
    async with registry(config("shop", "blog", "wiki")) as sites:
        backend.errors["blog"] = LoadError("no")
        for name in ("shop", "blog"):
            await sites.find(f"{name}.example").load()
        backend.errors.clear()
        assert outcomes(await sites.reload()) == {
            "shop": ("reloaded", 2),
            "blog": ("loaded", 1),
            "wiki": ("unchanged", 0),
        }


async def test_a_named_site_is_loaded_if_it_is_cold_and_no_other_is_touched(
    registry: Any, config: Any, backend: Any
) -> None:
    async with registry(config("shop", "blog")) as sites:
        await sites.find("blog.example").load()
        assert outcomes(await sites.reload(["shop"])) == {"shop": ("loaded", 1)}
        assert outcomes(await sites.reload(["shop"])) == {"shop": ("reloaded", 2)}
        assert backend.loads == [("blog", 1), ("shop", 1), ("shop", 2)]


async def test_files_of_other_sites_are_looked_at_unless_some_are_named(
    registry: Any, config: Any, file: File
) -> None:
    async with registry(config("shop", "blog")) as sites:
        await sites.reload(["shop"])
        assert file.names == {"shop"}
        await sites.refresh()
        assert file.names == frozenset()
        await sites.reload()
        assert file.names == frozenset()
        # Those that share a run share what it has to look at.
        await asyncio.gather(sites.reload(["shop"]), sites.reload(["blog"]))
        assert file.names == {"shop", "blog"}
        for other in (sites.refresh, sites.reload):
            await asyncio.gather(sites.reload(["shop"]), other())
            assert file.names == frozenset()
            await asyncio.gather(other(), sites.reload(["shop"]))
            assert file.names == frozenset()


# Queues


async def test_reloads_that_come_while_one_runs_share_the_next(
    registry: Any, config: Any, backend: Any, file: File
) -> None:
    async with registry(config("shop", "blog", "wiki")) as sites:
        loaded = backend.hold("shop")
        first = asyncio.create_task(sites.reload(["shop"]))
        await backend.loading["shop"].wait()
        later = [
            asyncio.create_task(sites.reload(names))
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
    registry: Any, config: Any, file: File
) -> None:
    async with registry(config("shop")) as sites:
        file.go_on.clear()
        first = asyncio.create_task(sites.refresh())
        await file.reading.wait()
        file.content = config("shop", "blog")
        second = asyncio.create_task(sites.refresh())
        await asyncio.sleep(0)  # the task begins
        file.go_on.set()
        assert outcomes(await first) == {}
        assert outcomes(await second) == {"blog": ("added", 0)}


async def test_a_caller_that_leaves_does_not_stop_the_reload(
    registry: Any, config: Any, backend: Any
) -> None:
    async with registry(config("shop")) as sites:
        loaded = backend.hold("shop")
        caller = asyncio.create_task(sites.reload(["shop"]))
        await backend.loading["shop"].wait()
        caller.cancel()
        await asyncio.wait({caller})
        loaded.set()
        assert outcomes(await sites.reload()) == {"shop": ("reloaded", 2)}


async def test_preloading_brings_up_a_few_at_a_time(
    registry: Any, config: Any, entry: Any, backend: Any
) -> None:
    names = ("shop", "blog", "wiki")
    async with registry(config(*(entry(name, preload=True) for name in names), "cold")) as sites:
        held = {name: backend.hold(name) for name in names}
        sites.preload()
        await backend.loading["shop"].wait()
        await backend.loading["blog"].wait()
        assert len(backend.loads) == LOADS_AT_ONCE
        for event in held.values():
            event.set()
        await backend.loading["wiki"].wait()
        assert ("cold", 1) not in backend.loads


async def test_a_site_that_leaves_while_it_waits_for_its_turn_is_removed(
    registry: Any, config: Any, backend: Any, file: File
) -> None:
    names = ("shop", "blog", "wiki")
    async with registry(config(*names)) as sites:
        for name in names:
            await sites.find(f"{name}.example").load()
        held = [backend.hold(name) for name in names[:2]]
        reload = asyncio.create_task(sites.reload())
        for name in names[:2]:
            await backend.loading[name].wait()
        file.content = config(*names[:2])
        await sites.refresh()
        for event in held:
            event.set()
        assert outcomes(await reload) == {
            "shop": ("reloaded", 2),
            "blog": ("reloaded", 2),
            "wiki": ("removed", 0),
        }


# The end


async def test_leaving_unloads_everything_and_abandons_loads(
    registry: Any, config: Any, entry: Any, backend: Any, file: File, get: Any
) -> None:
    async with registry(config("shop", "blog", entry("wiki", preload=True))) as sites:
        backend.hold("wiki")
        sites.preload()
        await sites.find("shop.example").load()
        slow = asyncio.create_task(get(sites.find("blog.example"), "/slow"))
        await backend.busy.wait()
        await backend.loading["wiki"].wait()
        # A reload has just removed the blog and is bringing up a new shop.
        backend.hold("shop")
        file.content = config("shop", entry("wiki", preload=True))
        reload = asyncio.create_task(sites.reload())
        await backend.loading["shop"].wait()
        backend.release.set()
        assert (await slow).text == "blog 1"
    assert sorted(backend.closed) == [("blog", 1), ("shop", 1)]
    assert sorted(backend.cancelled) == ["shop", "wiki"]
    await asyncio.wait({reload})
