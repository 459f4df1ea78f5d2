"""Workers agree: real stores and registries in one process, of which each thinks it is a worker."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.cluster import Control, Files, History, Identity, Loads, control
from gateway.cluster.blame import WINDOW
from gateway.cluster.identity import _born
from gateway.cluster.sightings import Condition
from gateway.cluster.store import UNKNOWN, End, Worker
from gateway.cluster.store.sqlite import BOUNDS, SqliteStore
from gateway.cluster.store.thread import StoreThread
from gateway.config import Config
from gateway.disk.statefolder import StateFolder
from gateway.errors import LoadError, UnknownSiteError
from gateway.sites.events import Cause, Crashed, Events, Happening, ModeChanged, Survived
from gateway.sites.gate import CHANGES, Mode, ModeError
from gateway.sites.registry import Registry
from gateway.sites.reloads import Reloads, Result
from gateway.sites.state import State
from tests.conftest import FakeBackend

pytestmark = pytest.mark.anyio

ASKER = "127.0.0.1, token"


class Member:
    """A worker with its own backend and registry."""

    def __init__(self, backend: FakeBackend, registry: Registry, control: Control) -> None:
        self.backend = backend
        self.registry = registry
        self.control = control

    async def use(self, *names: str) -> None:
        """Load sites as requests would."""
        for name in names:
            site = self.registry.find(f"{name}.example")
            assert site is not None
            await site.load()

    def generation(self, name: str) -> int:
        site = self.registry.find(f"{name}.example")
        assert site is not None
        return site.status().generation


Join = Callable[[], Awaitable[Member]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    """To look at, and to write to, as one more worker would."""
    store = SqliteStore(path)
    yield store
    store.close()


@pytest.fixture
async def join(
    config: Callable[..., Config], path: Path, crashes: list[tuple[int, Crashed]]
) -> AsyncIterator[Join]:
    """Start one more worker for a shop and a blog."""
    numbers = itertools.count()
    async with AsyncExitStack() as stack:

        async def make() -> Member:
            identity = Identity.mine()
            backend = FakeBackend()
            entries = config("shop", "blog")
            store_thread = await stack.enter_async_context(StoreThread(lambda: SqliteStore(path)))
            events = Events()
            events.subscribe(History(store_thread, identity.id))
            number = next(numbers)

            def record(event: Happening) -> None:
                if isinstance(event, Crashed):
                    crashes.append((number, event))

            events.subscribe(record)
            loads = Loads(store_thread, identity.id)
            registry = await stack.enter_async_context(
                Registry(entries, backend, events=events, loads=loads)
            )
            reloads = await stack.enter_async_context(Reloads(registry, lambda _: entries))
            member = await stack.enter_async_context(
                Control(
                    registry,
                    reloads,
                    store_thread,
                    identity,
                    loads,
                    Files(StateFolder(path.parent), "crash-"),
                    crash_limit=1,
                )
            )
            return Member(backend, registry, member)

        yield make


@pytest.fixture
def stranger(store: SqliteStore) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Another process that the store knows as a worker, though it does nothing."""
    started: list[subprocess.Popen[bytes]] = []

    def make(status: str = "ok") -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        started.append(process)
        born = _born(process.pid)
        assert born is not None
        store.report(
            Worker(
                f"{process.pid}-stranger",
                process.pid,
                Identity.mine().place,
                born,
                time.time(),
                False,
                {"status": status, "sites": {}},
            )
        )
        return process

    yield make
    for process in started:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def crashes() -> list[tuple[int, Crashed]]:
    """The crashes that the members have published, with the number of each member."""
    return []


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def statuses(others: control.Others) -> list[str]:
    return sorted(other["status"] for other in others.told.values())


# Reloads


async def test_a_reload_is_carried_out_by_all(join: Join) -> None:
    asked, other, third = [await join() for _ in range(3)]
    for member in (asked, other, third):
        await member.use("shop", "blog")
    done = await asked.control.reload(["shop"], ASKER)
    assert statuses(done.others) == ["ok", "ok"]
    assert not done.failed
    for member in (asked, other, third):
        assert (member.generation("shop"), member.generation("blog")) == (2, 1)
    entries = await asked.control.history("shop", 10)
    assert [(entry.event, entry.asker) for entry in entries[:3]] == [("reload", ASKER)] * 3


async def test_what_fails_where_it_was_asked_is_tried_nowhere_else(join: Join) -> None:
    asked, other = [await join() for _ in range(2)]
    for member in (asked, other):
        await member.use("shop", "blog")
    asked.backend.errors["shop"] = LoadError("no such module")
    done = await asked.control.reload([], ASKER)
    assert done.report.sites["shop"].outcome is Result.FAILED
    assert statuses(done.others) == ["ok"]
    assert (other.generation("shop"), other.generation("blog")) == (1, 2)
    # Nothing is left to be ordered.
    assert (await asked.control.reload(["shop"], ASKER)).others == control.Others()
    assert other.backend.loads == [("shop", 1), ("blog", 1), ("blog", 2)]


@pytest.mark.parametrize("error", [None, LoadError("no such module")])
async def test_a_reload_of_all_leaves_a_site_that_is_set_aside_alone_everywhere(
    join: Join, store: SqliteStore, error: LoadError | None
) -> None:
    asked, other = [await join() for _ in range(2)]
    for member in (asked, other):
        await member.use("shop", "blog")
    store.note_end(End(time.time(), "dead", "a crash", "blog", 1, True), 1, 0.0, "it crashed")
    await until(lambda: all(m.control._blame.known.asides for m in (asked, other)))
    if error is not None:
        asked.backend.errors["shop"] = error
    done = await asked.control.reload([], ASKER)
    assert done.report.sites["blog"].outcome is Result.UNCHANGED
    assert statuses(done.others) == ["ok"]
    assert (asked.generation("blog"), other.generation("blog")) == (1, 1)
    assert other.generation("shop") == (2 if error is None else 1)


async def test_a_failure_elsewhere_is_told(join: Join) -> None:
    asked, other = [await join() for _ in range(2)]
    await other.use("shop")
    other.backend.errors["shop"] = LoadError("out of file descriptors")
    done = await asked.control.reload(["shop"], ASKER)
    assert done.failed and done.others.failed and not done.report.failed
    (told,) = done.others.told.values()
    assert "out of file descriptors" in str(told)


async def test_a_name_that_is_unknown_here_is_ordered_all_the_same(join: Join) -> None:
    asked, other = [await join() for _ in range(2)]
    await other.use("shop")
    with pytest.raises(UnknownSiteError):
        await asked.control.reload(["shop", "nope"], ASKER)
    await until(lambda: other.generation("shop") == 2)


async def test_who_takes_too_long_is_late(join: Join) -> None:
    asked, other = [await join() for _ in range(2)]
    go_on = other.backend.hold("shop")
    others = await asked.control._order(
        "reload", {"sites": ["shop"], "except": []}, ASKER, deadline=0.5
    )
    assert statuses(others) == ["late"] and others.late and not others.failed
    go_on.set()
    await until(lambda: other.generation("shop") == 1)


async def test_who_ends_meanwhile_is_gone(
    join: Join, store: SqliteStore, stranger: Callable[[], subprocess.Popen[bytes]]
) -> None:
    asked = await join()
    process = stranger()
    reload = asyncio.create_task(asked.control.reload(["shop"], ASKER))
    await until(lambda: store.last_order() == 2)  # after the trial: the others are asked
    assert not reload.done()
    end(process)
    assert statuses((await reload).others) == ["gone"]


# Ends


def seen(member: Member) -> list[str]:
    return [each["what"] for each in member.control.sightings.document()]


UNEXPLAINED = "3 workers have ended within 5 minutes, and nothing shows which site ended them"


async def test_many_ends_that_nobody_can_explain_are_seen_by_all_that_run_and_that_start(
    join: Join, store: SqliteStore, stranger: Callable[..., subprocess.Popen[bytes]]
) -> None:
    first = await join()
    for number in range(3):
        assert first.control.sightings.condition() is Condition.OK
        end(stranger())
        await until(lambda: len(first.control.ends) == number + 1)  # noqa: B023
    await until(lambda: seen(first) == [UNEXPLAINED])
    assert first.control.sightings.condition() is Condition.DEGRADED
    second = await join()
    await until(lambda: seen(second) == [UNEXPLAINED])
    end(stranger())
    for member in (first, second):
        await until(lambda: seen(member) == [UNEXPLAINED.replace("3", "4")])  # noqa: B023


async def test_workers_that_were_asked_to_end_or_are_known_do_not_count(
    join: Join, store: SqliteStore, stranger: Callable[..., subprocess.Popen[bytes]]
) -> None:
    now = time.time()
    for number in range(3):
        store.note_end(End(now - WINDOW, f"old-{number}", "gone", "", 0, False), 0, 0.0, "")
        store.note_end(End(now, f"known-{number}", "a crash", "blog", 1, False), 0, 0.0, "")
    for _ in range(2):
        end(stranger())
    for _ in range(3):
        end(stranger("stopping"))
    member = await join()
    await until(lambda: len(member.control.ends) == 11)
    reported = time.time()
    await until(lambda: any(worker.seen > reported for worker in store.workers()))
    assert seen(member) == []


# Takeovers


@pytest.mark.parametrize(("attempt", "trials"), [(1, 1), (2, 0)])
async def test_a_trial_whose_worker_dies_is_repeated_by_one_worker_and_once(
    join: Join,
    store: SqliteStore,
    stranger: Callable[[], subprocess.Popen[bytes]],
    attempt: int,
    trials: int,
) -> None:
    members = [await join() for _ in range(3)]
    for member in members:
        await member.use("shop")
    process = stranger()
    details = {"sites": ["shop"], "attempt": attempt}
    number = store.order("trial", details, f"{process.pid}-stranger", ASKER)
    await asyncio.sleep(1)
    assert [member.generation("shop") for member in members] == [1, 1, 1]
    end(process)
    await until(lambda: len(store.outcomes(number)) == len(members))
    assert [member.generation("shop") for member in members] == [1 + trials] * 3
    kinds = [order.kind for order in store.orders(number)]
    assert kinds == ["trial", "reload"] * trials


async def test_a_trial_that_ended_well_is_over(
    join: Join, store: SqliteStore, stranger: Callable[[], subprocess.Popen[bytes]]
) -> None:
    member = await join()
    process = stranger()
    worker = f"{process.pid}-stranger"
    number = store.order("trial", {"sites": ["shop"], "attempt": 1}, worker, ASKER)
    store.settle(number, worker, {"status": "ok"})
    end(process)
    await until(lambda: member.control.me in store.outcomes(number))
    assert member.backend.loads == []


# Crashes


async def test_a_worker_that_dies_is_told_by_one_worker_and_once(
    join: Join,
    store: SqliteStore,
    stranger: Callable[[], subprocess.Popen[bytes]],
    crashes: list[tuple[int, Crashed]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    members = [await join() for _ in range(3)]
    process = stranger()
    dying = next(worker for worker in store.workers() if worker.pid == process.pid)
    sites = {"shop": {"state": "ready"}, "blog": {"state": "loading"}, "wiki": {"state": "failed"}}
    store.report(replace(dying, health={"status": "ok", "sites": sites}))
    await asyncio.sleep(1.5)  # they look, and it lives
    assert not crashes
    end(process)
    await until(lambda: crashes)
    late = await join()
    await asyncio.sleep(2.5)  # all of them have looked again
    ((_, crash),) = crashes
    assert crash == Crashed(dying.id, process.pid, dying.seen, ("shop",), ("blog",))
    assert caplog.text.count(f"worker {dying.id} (pid {process.pid}) has crashed") == 1
    for member in (*members, late):
        (entry,) = [e for e in await member.control.history(None, 9) if e.event == "worker"]
        assert (entry.result, entry.worker, entry.site) == ("crashed", dying.id, "")
        assert "it was loading blog; it had loaded shop" in str(entry.reason)


async def test_a_worker_that_died_before_is_told_by_the_next_one(
    join: Join,
    stranger: Callable[[], subprocess.Popen[bytes]],
    crashes: list[tuple[int, Crashed]],
) -> None:
    process = stranger()
    end(process)
    await join()
    assert [crash.pid for _, crash in crashes] == [process.pid]


async def test_a_worker_that_ends_as_it_should_is_no_crash(
    join: Join, store: SqliteStore, crashes: list[tuple[int, Crashed]]
) -> None:
    leaving, staying = [await join() for _ in range(2)]
    await leaving.control.__aexit__()
    await until(lambda: [worker for worker in store.workers() if worker.ended])
    await asyncio.sleep(1.5)  # the other one has looked
    assert staying.control.me and not crashes


async def test_a_generation_that_survives_is_in_the_history(join: Join) -> None:
    member = await join()
    holder = 'thread "scheduler"'
    member.registry.events.publish(Survived("shop", 3, Cause("reload", ASKER), holder))
    (entry,) = await member.control.history("shop", 9)
    assert (entry.event, entry.result, entry.generation) == ("unload", "survived", 3)
    assert (entry.asker, entry.reason) == (ASKER, f"held by {holder}")


# Modes


async def test_a_mode_holds_everywhere_and_later(join: Join) -> None:
    asked, other = [await join() for _ in range(2)]
    change = await asked.control.change_mode("shop", "maintenance", ASKER)
    assert statuses(change.others) == ["ok"]
    late = await join()
    for member in (asked, other, late):
        site = member.registry.find("shop.example")
        assert site is not None and site.status().mode is Mode.MAINTENANCE


async def test_every_worker_knows_who_changed_a_mode(join: Join, store: SqliteStore) -> None:
    asked, other = [await join() for _ in range(2)]
    told: list[Happening] = []
    other.registry.events.subscribe(told.append)
    await asked.control.change_mode("shop", "maintenance", ASKER)
    await until(lambda: told)
    assert told == [ModeChanged("shop", "maintenance", Cause("mode", ASKER))]
    for _ in range(BOUNDS.orders):
        store.order("nothing", {}, "w", ASKER)
    assert store.modes()["shop"].asker == UNKNOWN


def mode(member: Member) -> Mode:
    return member.registry.mode_of("shop")


async def test_of_two_operators_at_two_workers_one_comes_last_for_all(join: Join) -> None:
    members = [await join() for _ in range(3)]
    one, two, _ = (member.control for member in members)
    for first, second in itertools.product(CHANGES, CHANGES):
        await one.change_mode("shop", "open", ASKER)
        both = [one.change_mode("shop", first, ASKER), two.change_mode("shop", second, ASKER)]
        answers = await asyncio.gather(*both, return_exceptions=True)
        assert all(isinstance(answer, ModeError | control.Change) for answer in answers)
        (newest,) = await one.history("shop", 1)
        assert {mode(member) for member in members} == {newest.result}, (first, second)


async def test_a_conflict_is_that_with_the_mode_in_the_store(
    join: Join, store: SqliteStore
) -> None:
    member = await join()
    store.change_mode("shop", lambda _: "maintenance", "other", ASKER, 0.0)
    with pytest.raises(ModeError, match="maintenance"):
        await member.control.change_mode("shop", "pause", ASKER)
    await until(lambda: mode(member) is Mode.MAINTENANCE)
    assert store.last_order() == 1


async def test_a_mode_that_a_later_gateway_has_written_is_ended_by_open_alone(
    join: Join, store: SqliteStore
) -> None:
    member = await join()
    store.change_mode("shop", lambda _: "draining", "other", ASKER, 0.0)
    with pytest.raises(ModeError):
        await member.control.change_mode("shop", "resume", ASKER)
    assert (await member.control.change_mode("shop", "open", ASKER)).mode is Mode.OPEN


async def test_a_worker_that_never_sees_the_order_follows(
    join: Join, path: Path, store: SqliteStore
) -> None:
    member = await join()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO modes VALUES ('shop', 'paused', 7)")
        db.execute("COMMIT")
    await until(lambda: mode(member) is Mode.PAUSED)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else writes for a while, and changes what this does."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")


async def test_what_a_worker_did_without_the_store_goes_there_later(join: Join, path: Path) -> None:
    asked, other = [await join() for _ in range(2)]
    await until(lambda: bool(asked.control.others()))
    with locked(path):
        change = await asked.control.change_mode("shop", "maintenance", ASKER)
        assert change.others.late and change.others.trouble
        assert (mode(asked), mode(other)) == (Mode.MAINTENANCE, Mode.OPEN)
        with pytest.raises(ModeError):
            await asked.control.change_mode("shop", "pause", ASKER)
    await until(lambda: mode(other) is Mode.MAINTENANCE)
    (entry,) = await other.control.history("shop", 9)
    assert (entry.result, entry.asker, entry.worker) == ("maintenance", ASKER, asked.control.me)


async def test_what_has_changed_in_the_store_meanwhile_counts(
    join: Join, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked, other = [await join() for _ in range(2)]
    with locked(path) as db:
        await asked.control.change_mode("shop", "maintenance", ASKER)
        assert mode(asked) is Mode.MAINTENANCE
        db.execute("INSERT INTO orders VALUES (1, 'trial', '{}', 'third', 'x')")
        db.execute("DELETE FROM orders")
        db.execute("INSERT INTO modes VALUES ('shop', 'paused', 1)")
    await until(lambda: (mode(asked), mode(other)) == (Mode.PAUSED, Mode.PAUSED))
    assert "maintenance, which only this worker had, counts no longer" in caplog.text
    # The next change is made of that.
    assert (await asked.control.change_mode("shop", "resume", ASKER)).mode is Mode.OPEN


async def test_a_store_that_is_new_learns_the_modes(
    join: Join, path: Path, store: SqliteStore
) -> None:
    members = [await join() for _ in range(2)]
    await members[0].control.change_mode("shop", "maintenance", ASKER)
    await members[0].control.change_mode("blog", "pause", ASKER)
    await members[0].control.change_mode("blog", "resume", ASKER)
    store.close()
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    await until(path.exists)
    with contextlib.closing(SqliteStore(path)) as new:
        await until(lambda: "shop" in new.modes())
        assert {site: held.mode for site, held in new.modes().items()} == {"shop": "maintenance"}
        assert [entry.asker for entry in new.history(None, 9)] == ["recall"]
    assert {mode(member) for member in members} == {Mode.MAINTENANCE}
    late = await join()
    assert mode(late) is Mode.MAINTENANCE


# Starting, and doing without


async def test_what_was_in_use_is_loaded_at_the_start(join: Join) -> None:
    first = await join()
    await first.use("shop")
    await until(
        lambda: first.control._reported["sites"].get("shop", {}).get("state") == State.READY
    )
    second = await join()
    await until(lambda: bool(second.control.others()))
    await second.control.warm()  # this process is too old for a worker's start to wait
    await until(lambda: second.generation("shop") == 1)
    assert second.generation("blog") == 0


async def test_without_a_store_a_reload_is_done_here_and_says_so(
    join: Join, path: Path, store: SqliteStore
) -> None:
    asked = await join()
    await join()
    await until(lambda: bool(asked.control.others()))
    store.close()
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    path.mkdir()
    done = await asked.control.reload(["shop"], ASKER)
    assert done.report.sites["shop"].outcome is Result.LOADED
    assert statuses(done.others) == ["late"]
    assert done.others.trouble is not None and str(path) in done.others.trouble
    assert asked.control.trouble == done.others.trouble
