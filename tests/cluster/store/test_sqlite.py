"""The store: what one writes others read, and nothing that happens to it leaves it unusable."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import sampled_from

from gateway.cluster.store import UNKNOWN, End, Entry, Held, StoreError, Worker
from gateway.cluster.store import sqlite as module
from gateway.cluster.store.sqlite import Bounds, SqliteStore, store_path
from gateway.sites.gate import CHANGES, Mode, ModeError, after

ROOT = Path(__file__).resolve().parents[3]
WRITER = """
import itertools, pathlib, sys
from gateway.cluster.store import Entry
from gateway.cluster.store.sqlite import SqliteStore
store = SqliteStore(pathlib.Path(sys.argv[1]))
print("writing", flush=True)
for n in itertools.count():
    number = store.change_mode("shop", lambda held: f"{n}", "w", "test", 0.0).number
    store.settle(number, "w", {"status": "ok", "mode": f"{n}"})
    store.note(Entry(float(n), "mode", "shop", n, "ok", "x" * 2000, 1.0, "test", "w"))
"""


QUICK = Bounds(busy=0.01)
workers = sampled_from(range(3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


def _entry(number: int, site: str = "shop") -> Entry:
    return Entry(float(number), "load", site, number, "loaded", None, 1.5, "request", "1-ab")


def test_what_one_worker_writes_another_reads(store: SqliteStore, path: Path) -> None:
    other = SqliteStore(path)
    assert other.identity == store.identity
    assert other.changed()
    assert not other.changed()
    number = store.order("reload", {"sites": ["shop"]}, "1-ab", "token ::1")
    assert other.changed()
    assert not other.changed()
    (order,) = other.orders(0)
    assert (order.number, order.kind, order.details) == (number, "reload", {"sites": ["shop"]})
    assert other.orders(number) == []
    other.settle(number, "2-cd", {"status": "ok"})
    assert store.outcomes(number) == {"2-cd": {"status": "ok"}}
    other.close()


def test_a_worker_is_known_by_its_newest_report(store: SqliteStore) -> None:
    first = Worker("1-ab", 1, "here", "77", 10.0, False, {"status": "ok"})
    second = Worker("1-ab", 1, "here", "77", 20.0, True, {"status": "stopping"})
    store.report(first)
    store.report(second)
    assert store.workers() == [second]
    store.forget(20.0)
    assert store.workers() == [second]
    store.forget(20.1)
    assert store.workers() == []


def test_a_worker_is_marked_as_ended_once_and_not_if_it_has_reported(store: SqliteStore) -> None:
    worker = Worker("1-ab", 1, "here", "77", 10.0, False, {})
    store.report(worker)
    assert not store.mark_ended(replace(worker, seen=9.0))
    assert store.workers() == [worker]
    assert store.mark_ended(worker)
    assert not store.mark_ended(worker)
    assert store.workers() == [replace(worker, ended=True)]
    again = replace(worker, seen=20.0)
    store.report(again)
    assert store.workers() == [again]


def test_a_mode_is_remembered_with_its_order(store: SqliteStore, path: Path) -> None:
    for site, mode in (("shop", "paused"), ("blog", "maintenance"), ("shop", "open")):
        store.change_mode(site, lambda _, mode=mode: mode, "w", "a", 0.0)
    store.close()
    again = SqliteStore(path)
    assert again.modes() == {"shop": ("open", 3, "a"), "blog": ("maintenance", 2, "a")}
    assert again.modes(2) == {"shop": ("open", 3, "a")}
    assert again.last_order() == 3
    assert [order.details["mode"] for order in again.orders(1)] == ["maintenance", "open"]
    assert [entry.result for entry in again.history("shop", 9)] == ["open", "paused"]
    again.close()


def test_a_site_that_ends_workers_is_set_aside_until_it_is_forgiven(
    store: SqliteStore, path: Path
) -> None:
    def ends(at: float, site: str = "shop", counts: bool = True, limit: int = 2) -> bool:
        end = End(at, f"{at}-w", "a crash", site, 3, counts)
        return store.note_end(end, limit, at - 300, f"{at}")

    assert not ends(1000)
    assert not ends(1301)  # the first one is too long ago
    assert not ends(1302, counts=False)
    assert not ends(1303, "blog")
    assert not ends(1304, limit=0)
    assert not ends(1305, "", counts=False)
    assert store.asides() == {}
    assert ends(1500)
    assert not ends(1501)  # it is set aside already
    store.close()
    again = SqliteStore(path)
    assert again.asides() == {"shop": "1500"}
    assert [end.at for end in again.ends(1303)] == [1501, 1500, 1305, 1304, 1303]
    again.forgive("shop", "1-ab", "token ::1")
    again.forgive("shop", "1-ab", "token ::1")
    assert again.asides() == {}
    assert not again.note_end(End(1502, "w", "a crash", "shop", 4, True), 2, 1202, "")
    history = [(e.event, e.result, e.asker, e.worker) for e in again.history("shop", 9)]
    assert history == [
        ("aside", "let in", "token ::1", "1-ab"),
        ("aside", "set aside", "", "1500-w"),
    ]
    again.close()


def test_the_newest_ends_are_kept(path: Path) -> None:
    store = SqliteStore(path, replace(QUICK, ends=3))
    for at in range(9):
        store.note_end(End(at, "w", "a crash", "", 0, False), 2, 0, "")
    assert [end.at for end in store.ends(0)] == [8, 7, 6]
    store.close()


class Operators(RuleBasedStateMachine):
    """Several workers change a mode and follow, while stores come, go and are locked."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "gateway.db"
        self.stores = [SqliteStore(self.path, QUICK) for _ in range(3)]
        self.seen = [-1] * 3
        self.modes: list[str | None] = [None] * 3
        self.accepted: list[tuple[str, str]] = []

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    @rule(worker=workers, action=sampled_from(sorted(CHANGES)))
    def act(self, worker: int, action: str) -> None:
        before = Mode(self.accepted[-1][1]) if self.accepted else Mode.OPEN

        def change(held: Held | None) -> str:
            assert (held.mode if held else None) == (self.accepted[-1][1] if held else None)
            return after(action, Mode(held.mode) if held else Mode.OPEN)

        try:
            wanted = after(action, before)
        except ModeError:
            with pytest.raises(ModeError):
                self.stores[worker].change_mode("shop", change, str(worker), action, 0.0)
        else:
            held = self.stores[worker].change_mode("shop", change, str(worker), action, 0.0)
            assert held.mode == wanted
            self.accepted.append((action, wanted))

    @rule(worker=workers)
    def follow(self, worker: int) -> None:
        for held in self.stores[worker].modes(self.seen[worker]).values():
            assert held.number > self.seen[worker]
            self.seen[worker], self.modes[worker] = held.number, held.mode
        assert self.modes[worker] == (self.accepted[-1][1] if self.accepted else None)

    @rule(worker=workers)
    def begin_again(self, worker: int) -> None:
        self.stores[worker].close()
        self.stores[worker] = SqliteStore(self.path, QUICK)
        self.seen[worker] = -1

    @rule(worker=workers)
    def fail_amid(self, worker: int) -> None:
        """Whatever ends a change before its end, it leaves nothing."""
        store = self.stores[worker]
        before = store.modes(), store.last_order(), store.history(None, 99)

        def change(held: Held | None) -> str:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.change_mode("shop", change, "w", "a", 0.0)
        assert (store.modes(), store.last_order(), store.history(None, 99)) == before

    @rule(worker=workers)
    def locked(self, worker: int) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                self.stores[worker].change_mode("shop", lambda _: "lost", "w", "a", 0.0)

    @invariant()
    def the_history_says_the_same(self) -> None:
        told = [(entry.asker, entry.result) for entry in self.stores[0].history("shop", 999)]
        assert told[::-1] == self.accepted
        assert self.stores[0].last_order() == len(self.accepted)


def test_changes_of_mode_come_one_after_the_other() -> None:
    Operators.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
    Operators.TestCase().runTest()


def test_a_file_of_the_first_version_is_taken_over(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.executescript(module._SCHEMA[0])
        old.execute("INSERT INTO identity VALUES ('old')")
        old.execute("INSERT INTO modes VALUES ('shop', 'maintenance')")
        old.execute("PRAGMA user_version = 1")
    with closing(SqliteStore(path)) as store:
        assert store.identity == "old"
        assert store.modes() == {"shop": ("maintenance", 0, UNKNOWN)}
        store.change_mode("shop", lambda held: f"after {held and held.mode}", "w", "a", 0.0)
        assert store.modes(0) == {"shop": ("after maintenance", 1, "a")}


def test_what_a_worker_writes_late_stands_where_it_happened(store: SqliteStore) -> None:
    for number in (1, 3, 2):
        store.note(_entry(number))
    assert [entry.at for entry in store.history(None, 10)] == [3, 2, 1]


def test_the_history_is_bounded_and_newest_first(path: Path) -> None:
    with closing(SqliteStore(path, Bounds(history=5))) as store:
        for number in range(10):
            store.note(_entry(number, "shop" if number % 2 else "blog"))
        assert [entry.at for entry in store.history(None, 100)] == [9, 8, 7, 6, 5]
        assert store.history("shop", 2) == [_entry(9), _entry(7)]


def test_orders_and_their_outcomes_are_bounded(path: Path) -> None:
    with closing(SqliteStore(path, Bounds(orders=3))) as store:
        for _ in range(6):
            store.settle(store.order("reload", {}, "w", "a"), "w", {"status": "ok"})
        assert [order.number for order in store.orders(0)] == [4, 5, 6]
        assert store.outcomes(3) == {}
        assert store.outcomes(4) == {"w": {"status": "ok"}}


def test_an_order_is_taken_over_by_one_worker(store: SqliteStore, path: Path) -> None:
    number = store.order("trial", {}, "1", "token")
    other = SqliteStore(path)
    assert [store.claim(number, "2"), other.claim(number, "3"), store.claim(number, "2")] == [
        True,
        False,
        False,
    ]
    assert other.claim(number + 1, "3")
    assert store.outcomes(number) == {}
    other.close()


def test_gateways_with_other_sites_have_other_files(tmp_path: Path) -> None:
    one = store_path(tmp_path, Path("/srv/a/sites.json"))
    assert one != store_path(tmp_path, Path("/srv/b/sites.json"))
    assert one == store_path(tmp_path, Path("/srv/a/sites.json"))


def test_it_is_for_its_owner_only(store: SqliteStore, path: Path) -> None:
    store.note(_entry(1))
    for file in path.parent.glob("gateway.db*"):
        assert file.stat().st_mode & 0o077 == 0, file


def test_killed_writers_leave_it_whole(path: Path) -> None:
    for _ in range(12):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, path], cwd=ROOT, stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"writing\n"
        time.sleep(random.uniform(0.0, 0.05))
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
        store = SqliteStore(path)
        # An order, the mode that goes with it and the entry of the history are one step.
        assert store.modes()["shop"].number == store.last_order()
        assert store.modes()["shop"].mode == store.orders(0)[-1].details["mode"]
        store.note(_entry(1))
        store.close()
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()


@contextmanager
def _no_file_over(size: int) -> Iterator[None]:
    """As on a full disk: nothing is written beyond ``size`` bytes of a file; setrlimit(2)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_an_error_and_then_over(store: SqliteStore, path: Path) -> None:
    store.note(_entry(1))
    large = Entry(2.0, "load", "shop", 2, "failed", "x" * 500_000, 1.0, "request", "w")
    with _no_file_over(400_000), pytest.raises(StoreError, match=r"gateway\.db: "):
        store.note(large)
    assert store.history(None, 10) == [_entry(1)]
    store.note(large)
    assert store.history(None, 1) == [large]


def test_a_locked_file_is_an_error_within_bounds(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        store.note(_entry(1))
    # Reading goes on meanwhile.
    assert store.history(None, 10) == []
    holder.execute("ROLLBACK")
    holder.close()
    store.note(_entry(1))
    assert store.history(None, 10) == [_entry(1)]


def test_garbage_is_an_error_that_names_the_remedy(path: Path) -> None:
    path.write_bytes(os.urandom(100_000))
    before = path.read_bytes()
    with pytest.raises(StoreError, match="remove it"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_folder_in_its_place_is_an_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreError, match="directory"):
        SqliteStore(path)


def test_a_file_of_a_newer_gateway_is_left_alone(path: Path) -> None:
    SqliteStore(path).close()
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(StoreError, match="newer"):
        SqliteStore(path)


def test_a_file_that_was_removed_is_noticed(store: SqliteStore, path: Path) -> None:
    assert store.changed()
    for file in path.parent.glob("gateway.db*"):
        file.unlink()
    with pytest.raises(StoreError):
        store.changed()
    again = SqliteStore(path)
    with pytest.raises(StoreError, match="replaced"):
        store.changed()
    assert again.identity != store.identity
    again.close()
