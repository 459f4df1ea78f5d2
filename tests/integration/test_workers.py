"""Several worker processes behave as one gateway."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from .actions import append, reload
from .servers import PROTOCOL, Gateway
from .sites import BuiltSite, tiny_site
from .visitors import Visitors, visit
from .waiting import until

pytestmark = pytest.mark.timed

WORKERS: Final = 3
AGREED_WITHIN: Final = 2.0
"""Seconds in which all workers have to be at the same point after anything that happened, besides
the loads: first one worker loads code that nobody has up, then the others do."""
_LOADS: Final = 2


@pytest.fixture
def site(tmp_path: Path) -> BuiltSite:
    return tiny_site(tmp_path, "steady")


@pytest.fixture
def workers(site: BuiltSite, tmp_path: Path) -> Iterator[Gateway]:
    """Three workers, all of which have loaded the site."""
    options = ("--workers", str(WORKERS), *PROTOCOL)
    with Gateway(tmp_path, {site.name: site.entry}, options=options) as gateway:
        _all_say(gateway, site, "first", patience=60)
        yield gateway


def _told(gateway: Gateway, site: BuiltSite) -> dict[str, Any]:
    """How each worker describes the site, by worker; ``None`` if it has yet to say so."""
    health = gateway.health()
    told = {id: other["sites"].get(site.name) for id, other in health.get("workers", {}).items()}
    return told | {health.get("worker", "only"): health["sites"][site.name]}


def _all_say(
    gateway: Gateway,
    site: BuiltSite,
    release: str,
    *,
    patience: float | None = None,
    of: Collection[int] | None = None,
) -> None:
    """Wait until each process answers with that release: those given, else ``WORKERS`` of them.

    They have ``patience`` seconds, else those of `_agreed`.
    """
    said: dict[int, str] = {}

    def agreed() -> bool:
        page = visit(gateway, site)
        said[page["pid"]] = page["release"] + page["greeting"]
        alive = {pid: said[pid] for pid in said if Path(f"/proc/{pid}").exists()}
        if of is not None:
            return all(said.get(pid) == release for pid in of)
        return len(alive) == WORKERS and set(alive.values()) == {release}

    try:
        if patience is None:
            _agreed(gateway, site, agreed, f"all say {release!r}")
        else:
            until(agreed, f"all say {release!r}", patience=patience)
    except TimeoutError as error:
        raise AssertionError(f"{error}: {said}") from None


def _agreed(
    gateway: Gateway, site: BuiltSite, condition: Callable[[], object], what: str, seen: float = 0
) -> None:
    """Wait until the workers agree, and check that they did so within `AGREED_WITHIN`.

    What happened is seen by the first of them after ``seen`` seconds.
    """
    begin = time.monotonic()
    until(condition, what)
    took = time.monotonic() - begin
    load = (gateway.health()["sites"][site.name].get("load_ms") or 0) / 1000
    within = seen + AGREED_WITHIN + _LOADS * load
    assert took <= within, f"{what} after {took:.1f} s, and a load takes {load:.1f} s"


def _release(site: BuiltSite, name: str) -> Callable[[], None]:
    return append(site, "core/views.py", f'\nRELEASE = "{name}"\n')


def test_a_reload_is_carried_out_by_all_before_it_is_answered(
    workers: Gateway, site: BuiltSite
) -> None:
    _release(site, "second")
    with Visitors(workers, site) as visitors:
        answer = reload(workers)
    assert answer.status_code == 200, answer.text
    others = answer.json()["workers"]
    assert [other["status"] for other in others.values()] == ["ok"] * (WORKERS - 1)
    assert {other["sites"]["steady"]["outcome"] for other in others.values()} == {"reloaded"}
    assert visitors.lost == []
    # No patience: it was answered, so it is done.
    assert {visit(workers, site)["release"] for _ in range(50)} == {"second"}

    entries = workers.operator().get("/_history", params={"site": "steady"}).json()["entries"]
    reloads = [entry for entry in entries if entry["event"] == "reload"]
    assert {entry["worker"] for entry in reloads} == {answer.json()["worker"], *others}
    assert {entry["asker"] for entry in reloads} == {"token 127.0.0.1"}
    assert {entry["result"] for entry in reloads} == {"loaded"}
    assert all(entry["duration_ms"] > 0 for entry in reloads)


def test_a_bad_deploy_costs_one_load_and_changes_nothing(workers: Gateway, site: BuiltSite) -> None:
    loads = site.folder / "loads.txt"
    before = len(loads.read_text().splitlines())
    repair = append(site, "core/views.py", "\nimport no_such_library\n")
    with Visitors(workers, site) as visitors:
        answer = reload(workers)
    assert answer.status_code == 500
    assert "workers" not in answer.json() or all(
        other["sites"] == {} for other in answer.json()["workers"].values()
    )
    assert visitors.lost == []
    assert len(loads.read_text().splitlines()) == before + 1
    until(lambda: workers.health()["status"] == "degraded", "every worker says degraded")
    _all_say(workers, site, "first")
    (entry,) = workers.operator().get("/_history?limit=1").json()["entries"]
    assert entry["result"] == "failed"
    assert "no_such_library" in entry["reason"]
    repair()
    assert reload(workers).status_code == 200
    until(lambda: workers.health()["status"] == "ok", "every worker is well again")


def test_a_site_whose_page_was_broken_before_is_mended_in_all(
    site: BuiltSite, tmp_path: Path
) -> None:
    append(site, "core/views.py", '\ndef broken(request): raise LookupError("no such table")\n')
    append(site, "core/urls.py", '\nurlpatterns.append(path("broken", views.broken))\n')
    site = BuiltSite(site.name, {**site.entry, "probe": "/broken"})
    options = ("--workers", str(WORKERS), *PROTOCOL)
    with Gateway(tmp_path, {site.name: site.entry}, options=options) as workers:
        _all_say(workers, site, "first", patience=60)
        repair = append(site, "core/views.py", "\nimport no_such_library\n")
        assert reload(workers, site).status_code == 500
        repair()
        _release(site, "second")
        with Visitors(workers, site) as visitors:
            answer = reload(workers, site)
        assert answer.status_code == 200, answer.text
        assert visitors.lost == []
        told = answer.json()
        outcomes = {id: other["sites"][site.name] for id, other in told["workers"].items()}
        outcomes[told["worker"]] = told["sites"][site.name]
        assert len(outcomes) == WORKERS
        for outcome in outcomes.values():
            assert outcome["outcome"] == "reloaded"
            assert "was answered 500: LookupError: no such table" in outcome["warning"]
        _all_say(workers, site, "second")
        # The one that tried the bad deploy has counted it. What they say agrees with the history.
        generations = {id: outcome["generation"] for id, outcome in outcomes.items()}
        assert sorted(generations.values()) == [2, 2, 3]
        _agreed(
            workers,
            site,
            lambda: (
                {id: (each or {}).get("generation") for id, each in _told(workers, site).items()}
                == generations
            ),
            "all workers tell their generation",
        )
        entries = workers.operator().get("/_history", params={"site": site.name}).json()["entries"]
        reloads = [entry for entry in entries if entry["event"] == "reload"]
        loaded = [entry for entry in reloads if entry["result"] == "loaded"]
        assert {entry["worker"]: entry["generation"] for entry in loaded} == generations
        assert all("no such table" in entry["reason"] for entry in loaded)
        assert [entry["generation"] for entry in reloads if entry["result"] == "failed"] == [2]


def test_an_edit_of_the_file_is_seen_by_all(workers: Gateway, site: BuiltSite) -> None:
    env = {**site.entry["env"], "GREETING": ", hello"}
    with Visitors(workers, site) as visitors:
        workers.write_sites({site.name: {**site.entry, "env": env}})
        _agreed(
            workers,
            site,
            lambda: {told and told["generation"] for told in _told(workers, site).values()} == {2},
            "all have the new entry",
            seen=1,
        )
        _all_say(workers, site, "first, hello")
    assert visitors.lost == []


def test_a_faulty_file_is_reported_once_and_changes_nothing(
    workers: Gateway, site: BuiltSite
) -> None:
    workers.write_text("{")
    until(
        lambda: [o["status"] for o in workers.health()["workers"].values()] == ["degraded"] * 2,
        "the other workers have seen it",
    )
    until(lambda: "errors" in workers.health(), "the one that answers, too")
    workers.write_sites(workers.sites)
    until(lambda: "is valid again" in workers.output, "the file is good again")
    _all_say(workers, site, "first")
    assert workers.output.count("sites.json is not served as it stands") == 1


def test_a_worker_that_dies_in_a_reload_is_not_waited_for(
    site: BuiltSite, tmp_path: Path, gate: Path
) -> None:
    options = ("--workers", str(WORKERS))
    with Gateway(tmp_path, {site.name: site.entry}, options=options) as workers:
        _all_say(workers, site, "first", patience=60)
        victim = visit(workers, site)["pid"]
        # The victim waits at the gate for ever; the others do not.
        append(
            site,
            "core/wsgi.py",
            f"\nif os.getpid() == {victim}:\n    Path({str(gate)!r}).read_bytes()\n",
        )
        _release(site, "second")
        with ThreadPoolExecutor(1) as pool, Visitors(workers, site) as visitors:
            answer = pool.submit(reload, workers)
            until(lambda: os.stat(gate) and _waits(victim, gate), "the victim is loading")
            os.kill(victim, signal.SIGKILL)
            survivors = _processes(workers) - {victim}
            try:
                told = answer.result().json()["workers"]
            except httpx.TransportError:
                # The victim was the one that was asked, so another one has taken over.
                until(lambda: "ended amid a reload" in workers.output, "somebody has noticed")
            else:
                assert sorted(other["status"] for other in told.values()) == ["gone", "ok"]
            _all_say(workers, site, "second", of=survivors)
            # The supervisor looks twice a second whether to replace a worker, which then starts.
            _all_say(workers, site, "second", patience=60)
        # Only what the victim had taken can be lost: one request of each visitor.
        assert len(visitors.lost) <= 4, visitors.lost
        assert reload(workers).status_code == 200
        until(lambda: "has crashed or was killed" in workers.output, "somebody has said so")
        entries = workers.operator().get("/_history").json()["entries"]
        crashed = [entry["worker"] for entry in entries if entry["event"] == "worker"]
        assert [worker.split("-")[0] for worker in crashed] == [str(victim)]
        assert workers.output.count("has crashed or was killed") == 1


def test_code_that_kills_its_worker_is_tried_twice(site: BuiltSite, tmp_path: Path) -> None:
    options = ("--workers", str(WORKERS))
    with Gateway(tmp_path, {site.name: site.entry}, options=options) as workers:
        _all_say(workers, site, "first", patience=60)
        before = _processes(workers)
        mend = append(site, "core/wsgi.py", "\nos.kill(os.getpid(), 9)\n")
        with pytest.raises(httpx.TransportError):
            reload(workers)
        until(lambda: "ended amid a reload" in workers.output, "somebody has noticed")
        until(lambda: len(before & _processes(workers)) == 1, "a second one has tried", patience=10)
        with pytest.raises(TimeoutError):
            until(lambda: not before & _processes(workers), "the last one dies", patience=3)
        # Those in the place of the dead do not load it, and say so.
        until(lambda: _refusals(workers, site), "a new worker refuses the code")
        mend()
        assert reload(workers, site).status_code == 200
        _all_say(workers, site, "first", patience=60)
        assert before & _processes(workers)


def _refusals(gateway: Gateway, site: BuiltSite) -> list[str]:
    told = [about["error"] for about in _told(gateway, site).values() if about]
    return [error for error in told if error and "ended the process" in error]


def _processes(workers: Gateway) -> set[int]:
    """The worker processes that are running."""
    children = Path(f"/proc/{workers.pid}/task/{workers.pid}/children").read_text().split()
    return {int(pid) for pid in children if "spawn_main" in _command(pid)}


def _command(pid: str) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def _waits(pid: int, gate: Path) -> bool:
    """Whether a thread of the process is in open(2) of a pipe that nobody writes to."""
    waits = [task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/wchan")]
    return "wait_for_partner" in waits


def test_a_restart_of_the_workers_loses_no_request_and_loads_what_was_in_use(
    workers: Gateway, site: BuiltSite
) -> None:
    before = set(_told(workers, site))
    assert len(before) == WORKERS
    with Visitors(workers, site) as visitors:
        _release(site, "second")
        os.kill(workers.pid, signal.SIGHUP)
        until(lambda: before.isdisjoint(_told(workers, site)), "every worker is replaced")
        _all_say(workers, site, "second")
    assert visitors.lost == []
    entries = workers.operator().get("/_history").json()["entries"]
    assert [entry["asker"] for entry in entries[:WORKERS]] == ["start"] * WORKERS


@pytest.mark.parametrize("trouble", ["garbage", "locked", "a folder"])
def test_without_its_store_a_gateway_serves_and_says_so(
    site: BuiltSite, tmp_path: Path, trouble: str
) -> None:
    with Gateway(tmp_path, {site.name: site.entry}) as gateway:
        assert visit(gateway, site)["release"] == "first"
        assert "store" not in gateway.health()
    (store,) = (tmp_path / ".gateway").glob("*.db")
    holder = sqlite3.connect(store, isolation_level=None)
    if trouble == "locked":
        holder.execute("BEGIN EXCLUSIVE")
    else:
        holder.close()
        store.unlink()
        if trouble == "garbage":
            store.write_bytes(b"not a database" * 1000)
        else:
            store.mkdir()
    second = Gateway(tmp_path, {site.name: site.entry})
    second.log = tmp_path / "second.log"
    with second as gateway:
        assert visit(gateway, site)["release"] == "first"
        _release(site, "second")
        answer = reload(gateway)
        assert answer.status_code == 200
        assert str(store.name) in answer.json()["store"]
        assert visit(gateway, site)["release"] == "second"
        assert gateway.health()["status"] == "degraded"
        assert gateway.operator().get("/_history").status_code == 503
        if trouble == "locked":
            holder.execute("ROLLBACK")
            until(lambda: gateway.health()["status"] == "ok", "the store works again")
    holder.close()
