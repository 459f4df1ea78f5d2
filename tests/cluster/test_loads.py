"""Loads of one worker go on whatever the store does, and leave nothing behind there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.cluster.loads import Loads, Suspects
from gateway.cluster.store import StoreError, Worker
from gateway.cluster.store.marks import Mark
from gateway.cluster.store.sqlite import SqliteStore
from gateway.cluster.store.thread import Bounds, StoreThread
from gateway.config import SiteConfig
from gateway.errors import LoadError
from gateway.sites.sources import Sources
from tests.conftest import EntryFactory

pytestmark = pytest.mark.anyio

CALLS = ("claim", "begin", "end")
DEAD = Worker("dead", 1, "here", "1", time.time(), True, {"status": "ok"})
QUICK = Bounds(answer=0.2, reopen=0.0)


class Trouble:
    """What goes wrong with the marks in the store of a worker."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.error: Exception = StoreError("the disk is full")
        self.hangs: threading.Event | None = None

    def open(self, path: Path) -> SqliteStore:
        store = SqliteStore(path)
        marks = store.marks
        for name in CALLS:
            setattr(marks, name, self._troubled(name, getattr(marks, name)))
        return store

    def _troubled(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def troubled(*args: Any, **kwargs: Any) -> Any:
            if name in self.failing:
                raise self.error
            if self.hangs is not None:
                self.hangs.wait(10)
            return call(*args, **kwargs)

        return troubled


@pytest.fixture
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(path)) as store:
        yield store


Join = Callable[..., Awaitable[Loads]]


@pytest.fixture
async def join(path: Path, store: SqliteStore, trouble: Trouble) -> AsyncIterator[Join]:
    """Start one more worker, which runs."""
    async with AsyncExitStack() as stack:

        async def make(name: str) -> Loads:
            store.report(replace(DEAD, id=name, ended=False))
            thread = StoreThread(lambda: trouble.open(path), QUICK)
            return Loads(await stack.enter_async_context(thread), name)

        yield make


@pytest.fixture
def shop(entry: EntryFactory, tmp_path: Path) -> SiteConfig:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/app.py").write_text("")
    return entry("shop", path=tmp_path / "shop")


async def load(loads: Loads, config: SiteConfig, sources: Sources | None = None) -> None:
    async with loads.claim(config, 1, sources) as begin:
        await begin()


def under_way(store: SqliteStore) -> list[str]:
    rows = store._rows("SELECT site FROM loads WHERE stage != 'up' ORDER BY site")
    return [site for (site,) in rows]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def suspect(store: SqliteStore, code: str, site: str = "shop", *, alone: bool = False) -> None:
    """Have a worker die in the load of a site."""
    store.report(replace(DEAD, ended=False))
    if alone:
        suspect(store, code, site)
        store.report(replace(DEAD, ended=False))
    mark = Mark("its key", site, code, DEAD.id, 1)
    store.marks.claim(mark, alone=alone)
    store.marks.begin(mark.key)
    store.report(DEAD)
    assert [(found.site, found.alone) for found in store.marks.suspects()] == [(site, alone)]


async def code_of(loads: Loads, store: SqliteStore, config: SiteConfig) -> str:
    async with loads.claim(config, 1, None):
        ((code,),) = store._rows("SELECT code FROM loads WHERE stage = 'claimed'")
    await until(lambda: not under_way(store))
    return str(code)


async def test_a_load_is_marked_before_it_begins_and_not_after(
    join: Join, store: SqliteStore, shop: SiteConfig
) -> None:
    loads = await join("one")
    with pytest.raises(ValueError, match="no module"):
        async with loads.claim(shop, 1, None) as begin:
            await begin()
            assert store._rows("SELECT site, stage, alone FROM loads") == [("shop", "begun", 0)]
            raise ValueError("no module")
    await until(lambda: not under_way(store))
    assert loads.trouble is None


async def test_code_is_known_by_its_entry_and_its_files(
    join: Join, store: SqliteStore, shop: SiteConfig
) -> None:
    loads = await join("one")
    codes = [await code_of(loads, store, shop)]
    assert codes == [await code_of(loads, store, shop)]
    (shop.path / "notes.txt").write_text("not code")
    assert codes == [await code_of(loads, store, shop)]
    for change in (
        lambda: (shop.path / "app.py").write_text("import os"),
        lambda: (shop.path / "more.py").write_text(""),
        lambda: (shop.path / "app.py").unlink(),
    ):
        change()
        codes.append(await code_of(loads, store, shop))
    codes.append(await code_of(loads, store, replace(shop, env={"PASSWORD": "another"})))
    codes.append(await code_of(loads, store, replace(shop, wsgi="core:app")))
    assert len(set(codes)) == len(codes) == 6


async def test_new_code_is_loaded_by_one_and_then_by_all(
    join: Join, store: SqliteStore, shop: SiteConfig
) -> None:
    one, two, three = [await join(name) for name in ("one", "two", "three")]
    async with one.claim(shop, 1, None) as begin:
        await begin()
        others = [asyncio.create_task(load(loads, shop)) for loads in (two, three)]
        done, _ = await asyncio.wait(others, timeout=0.5)
        assert not done
    await asyncio.gather(*others)


async def test_who_is_under_suspicion_is_loaded_alone(
    join: Join, store: SqliteStore, shop: SiteConfig, caplog: pytest.LogCaptureFixture
) -> None:
    loads = await join("one")
    blog = replace(shop, name="blog")
    suspect(store, await code_of(loads, store, shop))
    assert await loads.suspects() == Suspects(suspected=frozenset({"shop"}))
    go_on = asyncio.Event()
    began: list[str] = []

    async def slow(config: SiteConfig) -> None:
        async with loads.claim(config, 1, None) as begin:
            await begin()
            began.append(config.name)
            await go_on.wait()

    first = asyncio.create_task(slow(blog))
    await until(lambda: began)
    alone = asyncio.create_task(slow(shop))
    # Who waits to be alone holds up nobody.
    await load(loads, replace(shop, name="wiki"))
    assert began == ["blog"]
    go_on.set()
    await first
    go_on.clear()
    await until(lambda: began == ["blog", "shop"])
    assert "shop: is loaded alone now, because worker dead ended" in caplog.text
    third = asyncio.create_task(load(loads, replace(shop, name="wiki")))
    done, _ = await asyncio.wait({third}, timeout=0.5)
    assert not done
    go_on.set()
    await asyncio.gather(alone, third)
    assert await loads.suspects() == Suspects()


async def test_what_died_alone_is_refused_and_watched(
    join: Join, store: SqliteStore, shop: SiteConfig
) -> None:
    loads = await join("one")
    suspect(store, await code_of(loads, store, shop), alone=True)
    assert await loads.suspects() == Suspects(refused=frozenset({"shop"}))
    sources = Sources()
    with pytest.raises(LoadError, match=r"ended the process.*POST /_reload\?site=shop"):
        await load(loads, shop, sources)
    assert sources.changed() == []
    (shop.path / "app.py").write_text("# mended")
    assert sources.changed() == [str(shop.path / "app.py")]
    await load(loads, shop)


async def test_an_operator_has_it_tried_once_more(
    join: Join, store: SqliteStore, shop: SiteConfig
) -> None:
    loads = await join("one")
    suspect(store, await code_of(loads, store, shop), alone=True)
    await loads.pardon(["shop"])
    await load(loads, shop)
    await until(lambda: not store.marks.suspects())


# Faults


@pytest.mark.parametrize("error", [StoreError("the disk is full"), MemoryError("the disk is full")])
@pytest.mark.parametrize("call", CALLS)
async def test_a_load_goes_on_without_the_store(
    join: Join,
    store: SqliteStore,
    shop: SiteConfig,
    trouble: Trouble,
    call: str,
    error: Exception,
) -> None:
    one, two = [await join(name) for name in ("one", "two")]
    trouble.failing, trouble.error = {call}, error
    await load(one, shop)
    await load(two, replace(shop, name="blog"))
    assert ("the disk is full" in str(one.trouble)) is (call != "end")
    # Marks that could not be taken off go when it works again: nobody waits for them for ever.
    trouble.failing = set()
    one.store_works()
    two.store_works()
    assert one.trouble is None
    await until(lambda: not under_way(store))
    await load(two, shop)


async def test_a_store_that_hangs_delays_a_load_for_a_moment(
    join: Join, store: SqliteStore, shop: SiteConfig, trouble: Trouble
) -> None:
    loads = await join("one")
    trouble.hangs = threading.Event()
    await load(loads, shop)
    assert "did not answer" in str(loads.trouble)
    trouble.hangs.set()
    # What was asked meanwhile is done now, in its order.
    await until(lambda: store._rows("SELECT stage FROM loads") == [("up",)])


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.01, 0.05, 0.1])
async def test_a_load_that_is_cancelled_leaves_no_mark(
    join: Join, store: SqliteStore, shop: SiteConfig, trouble: Trouble, seconds: float
) -> None:
    loads = await join("one")
    suspect(store, await code_of(loads, store, shop))
    trouble.hangs = threading.Event()
    loading = asyncio.create_task(load(loads, shop))
    await asyncio.wait({loading}, timeout=seconds)
    loading.cancel()
    await asyncio.wait({loading})
    trouble.hangs.set()
    assert loading.cancelled()
    trouble.hangs = None
    await until(lambda: not loads._ended)
    assert under_way(store) == []
    assert await loads.suspects() == Suspects(suspected=frozenset({"shop"}))
    # And no place: it can be loaded alone.
    await load(loads, shop)


async def test_a_folder_that_hangs_fails_its_load_alone(
    join: Join, shop: SiteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = await join("one")
    go_on = threading.Event()
    monkeypatch.setattr("gateway.cluster.loads._code_of", lambda _: str(go_on.wait(10)))
    limits = replace(shop.limits, load_timeout=0.1)
    with pytest.raises(LoadError, match="could not be looked at"):
        await load(loads, replace(shop, limits=limits))
    go_on.set()
    await load(loads, shop)
