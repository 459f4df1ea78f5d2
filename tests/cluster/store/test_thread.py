"""The thread of the store: the event loop never waits, and a store that fails is opened again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gateway.cluster.store import Entry, Store, StoreError
from gateway.cluster.store.sqlite import SqliteStore
from gateway.cluster.store.thread import Bounds, StoreThread

pytestmark = pytest.mark.anyio

ENTRY = Entry(1.0, "load", "shop", 1, "loaded", None, 1.5, "request", "1-ab")


async def test_everything_happens_on_one_thread_that_ends(tmp_path: Path) -> None:
    threads: set[threading.Thread] = set()

    def question(store: Store) -> int:
        threads.add(threading.current_thread())
        return store.last_order()

    async with StoreThread(lambda: SqliteStore(tmp_path / "gateway.db")) as asked:
        assert await asked.ask(question) == 0
        assert await asked.ask(question) == 0
        asked.tell(lambda store: store.note(ENTRY))
    (thread,) = threads
    assert thread is not threading.main_thread()
    assert not thread.is_alive()
    # What was told before leaving is written.
    store = SqliteStore(tmp_path / "gateway.db")
    assert store.history(None, 10) == [ENTRY]
    store.close()


async def test_a_store_that_fails_is_opened_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "gateway.db"
    path.mkdir()
    async with StoreThread(lambda: SqliteStore(path), Bounds(reopen=0.0)) as asked:
        for _ in range(3):
            with pytest.raises(StoreError, match="directory"):
                await asked.ask(Store.last_order)
        assert asked.error
        path.rmdir()
        assert await asked.ask(lambda store: store.last_order()) == 0
        assert asked.error is None
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, said
    assert "sites are served as before" in said[0]
    assert said[1] == "the store works again"


async def test_a_store_that_hangs_holds_up_neither_the_loop_nor_the_end(tmp_path: Path) -> None:
    bounds = Bounds(answer=0.05, leave=0.05, queue=3)
    release = threading.Event()
    async with StoreThread(lambda: SqliteStore(tmp_path / "gateway.db"), bounds) as asked:
        with pytest.raises(StoreError, match="within"):
            await asked.ask(lambda _: release.wait())
        for _ in range(3):
            asked.tell(lambda store: store.note(ENTRY))
        with pytest.raises(StoreError, match="does not answer"):
            await asked.ask(lambda store: store.last_order())
    release.set()
