"""The registry: which sites there are, and how they are. `test_reloads` has what changes them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.errors import Fault
from gateway.sites.events import A_REQUEST
from gateway.sites.registry import Registry

pytestmark = pytest.mark.anyio


async def test_a_fault_of_no_site_degrades_too(config: Any, backend: Any) -> None:
    general = Fault("$.default_site", "there is no site 'x'")
    async with Registry(config("shop"), backend, faults=(general,)) as sites:
        assert sites.status().degraded
        assert sites.status().faults == (general,)


async def test_a_default_site_can_be_a_faulty_one(config: Any, backend: Any, get: Any) -> None:
    sites = config("shop", faulty=("blog",), default_site="blog")
    async with Registry(sites, backend) as registry:
        assert (await get(registry.find("else.example"))).status_code == 503


async def test_a_new_configuration_changes_routes_at_once_and_no_code(
    config: Any, entry: Any, backend: Any, get: Any
) -> None:
    async with Registry(config("shop", "blog"), backend) as registry:
        await registry.find("shop.example").load()  # type: ignore[union-attr]
        diff = registry.adopt(config(entry("shop", hosts=("new.example",)), "wiki"), A_REQUEST)
        assert (diff.added, diff.removed, diff.stale) == ({"wiki"}, {"blog"}, {"shop"})
        assert registry.find("shop.example") is registry.find("blog.example") is None
        assert (await get(registry.find("new.example"))).text == "shop 1"
        assert backend.loads == [("shop", 1)]


async def test_a_site_that_comes_back_has_other_numbers_than_loads_that_were_under_way(
    config: Any, backend: Any
) -> None:
    async with Registry(config("shop"), backend) as registry:
        hold = backend.hold("shop")
        load = asyncio.create_task(registry.find("shop.example").load())  # type: ignore[union-attr]
        await asyncio.sleep(0)  # the attempt is there, and has not begun
        registry.adopt(config(), A_REQUEST)
        registry.adopt(config("shop"), A_REQUEST)
        hold.set()
        await registry.find("shop.example").load()  # type: ignore[union-attr]
        await load
        assert backend.loads == [("shop", 1), ("shop", 2)]
