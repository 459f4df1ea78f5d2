"""Pause and maintenance hold in every worker, also in those that come later."""

from __future__ import annotations

import http.client
import itertools
import os
import random
import signal
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from gateway.sites.gate import CHANGES, Mode, ModeError, after

from .clients import client_for
from .servers import PROTOCOL, Gateway
from .sites import BuiltSite, tiny_site
from .visitors import Visitors, fetch, visit, wait_for_workers
from .waiting import until

WORKERS: Final = 3
OPTIONS: Final = ("--workers", str(WORKERS), *PROTOCOL)


@pytest.fixture
def site(tmp_path: Path) -> BuiltSite:
    site = tiny_site(tmp_path, "steady")
    (site.folder / "503.html").write_text("<h1>Back at eight</h1>")
    return site


@pytest.fixture
def workers(site: BuiltSite, tmp_path: Path) -> Iterator[Gateway]:
    """Three workers, and a second site that nobody pauses."""
    other = tiny_site(tmp_path, "other")
    entries = {each.name: each.entry for each in (site, other)}
    with Gateway(tmp_path, entries, options=OPTIONS) as gateway:
        wait_for_workers(gateway, site, WORKERS)
        yield gateway


def change(gateway: Gateway, action: str, **params: Any) -> httpx.Response:
    return gateway.operator().post(f"/_sites/steady/{action}", params=params, timeout=60)


def statuses(gateway: Gateway, site: BuiltSite) -> set[int]:
    """What many visitors get, each on a connection of its own."""
    found = set()
    for _ in range(30):
        status, headers, body = fetch(gateway, site)
        found.add(status)
        if status == 503:
            assert body == b"<h1>Back at eight</h1>"
            assert headers["Retry-After"] == "60"
    return found


def test_maintenance_holds_everywhere_until_it_is_ended(workers: Gateway, site: BuiltSite) -> None:
    answer = change(workers, "maintenance").json()
    assert (answer["status"], answer["mode"]) == ("ok", "maintenance")
    assert [other["status"] for other in answer["workers"].values()] == ["ok"] * (WORKERS - 1)
    # No patience: it was answered, so it is done.
    assert statuses(workers, site) == {503}
    assert change(workers, "resume").status_code == 409
    assert change(workers, "open").status_code == 200
    assert statuses(workers, site) == {200}


def test_a_pause_loses_nobody(workers: Gateway, site: BuiltSite) -> None:
    with Visitors(workers, site, count=6) as visitors:
        answer = change(workers, "pause", wait=10).json()
        assert answer["in_flight"] == 0
        assert {other["in_flight"] for other in answer["workers"].values()} == {0}
        served = visitors.answers
        with ThreadPoolExecutor(4) as pool:
            held: list[Future[dict[str, Any]]] = [
                pool.submit(visit, workers, site) for _ in range(4)
            ]
            # Another site goes on.
            assert visit(workers, BuiltSite("other", workers.sites["other"]))["site"] == "other"
            assert not any(future.done() for future in held)
            # Those whose answer was on its way when the pause began have it.
            assert visitors.answers <= served + 6
            assert change(workers, "resume").status_code == 200
            assert {future.result()["site"] for future in held} == {"steady"}
    assert visitors.lost == []
    assert visitors.answers > served


def test_who_comes_later_takes_the_mode(workers: Gateway, site: BuiltSite) -> None:
    """A worker that is killed is replaced, all of them are, and the gateway is started again."""
    assert change(workers, "maintenance").status_code == 200
    victim = workers.children()[-1]
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in workers.children(), "the supervisor has replaced it")
    assert _only_refused(workers, site)
    before = set(workers.health()["workers"])
    os.kill(workers.pid, signal.SIGHUP)
    until(lambda: before.isdisjoint(workers.health().get("workers", before)), "all are replaced")
    assert _only_refused(workers, site)
    workers.stop()
    second = Gateway(workers.folder, workers.sites)
    second.log = workers.folder / "second.log"
    with second:
        assert statuses(second, site) == {503}
        assert second.health()["sites"]["steady"]["mode"] == "maintenance"
        assert second.health()["sites"]["other"]["mode"] == "open"
        assert change(second, "open").status_code == 200
        assert statuses(second, site) == {200}


def _only_refused(workers: Gateway, site: BuiltSite) -> bool:
    """While workers come and go, a connection may break; but nobody gets in."""
    found: set[int] = set()
    for _ in range(3):
        try:
            found |= statuses(workers, site)
        except (OSError, http.client.HTTPException):
            continue
    return found == {503}


def test_a_site_that_is_added_later_takes_the_mode_that_it_had(
    workers: Gateway, site: BuiltSite
) -> None:
    assert change(workers, "maintenance").status_code == 200
    sites = workers.sites
    workers.write_sites({"other": sites["other"]})
    assert workers.operator().post("/_reload").status_code == 200
    workers.write_sites(sites)
    assert workers.operator().post("/_reload").status_code == 200
    assert statuses(workers, site) == {503}


def test_without_a_store_the_worker_that_was_asked_obeys_and_says_so(
    site: BuiltSite, tmp_path: Path
) -> None:
    with Gateway(tmp_path, {site.name: site.entry}) as gateway:
        (store,) = (tmp_path / ".gateway").glob("*.db")
        store.unlink()
        store.mkdir()
        until(lambda: "store" in gateway.health(), "it has noticed")
        answer = change(gateway, "maintenance").json()
        assert answer["mode"] == "maintenance"
        assert store.name in answer["store"]
        assert statuses(gateway, site) == {503}


# Several operators at the same time


@pytest.fixture
def pair(site: BuiltSite, tmp_path: Path) -> Iterator[Gateway]:
    """Two workers, whose connections live as long as the test."""
    options = ("--workers", "2", "--timeout-keep-alive", "60", *PROTOCOL)
    with Gateway(tmp_path, {site.name: site.entry}, options=options) as gateway:
        wait_for_workers(gateway, site, 2)
        yield gateway


@pytest.fixture
def operators(pair: Gateway) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """One at each of the workers: a connection stays with the process that accepted it."""
    with ExitStack() as stack:

        def two() -> tuple[httpx.Client, httpx.Client] | None:
            headers = {"Authorization": f"Bearer {pair.token}"}
            client = stack.enter_context(client_for("localhost", pair.port, headers))
            found.setdefault(client.get("/_health").json().get("worker", ""), client)
            clients = [client for worker, client in found.items() if worker]
            return (clients[0], clients[1]) if len(clients) == 2 else None

        found: dict[str, httpx.Client] = {}
        yield until(two, "a connection to each worker")


def act(client: httpx.Client, action: str) -> tuple[int, str]:
    """The status of the answer and the mode that it tells of."""
    answer = client.post(f"/_sites/steady/{action}", timeout=60)
    return answer.status_code, answer.json().get("mode", "")


def modes(*clients: httpx.Client) -> list[str]:
    """The mode as the worker of each of them has it."""
    return [c.get("/_health").json()["sites"]["steady"]["mode"] for c in clients]


def newest(client: httpx.Client) -> str:
    """The mode that the newest entry of the history tells of."""
    entries = client.get("/_history?site=steady&limit=20").json()["entries"]
    return str(next(entry["result"] for entry in entries if entry["event"] == "mode"))


def one_after_the_other(mode: Mode, *actions: str) -> list[tuple[int, str]]:
    """What the operators are answered who do that."""
    answers = []
    for action in actions:
        try:
            mode = after(action, mode)
            answers.append((200, str(mode)))
        except ModeError:
            answers.append((409, ""))
    return answers


def test_of_two_operators_at_two_workers_one_comes_last_for_all(
    pair: Gateway, operators: tuple[httpx.Client, httpx.Client]
) -> None:
    one, two = operators
    together = threading.Barrier(2)

    def at_once(client: httpx.Client, action: str) -> tuple[int, str]:
        together.wait(60)
        return act(client, action)

    starts = {
        Mode.OPEN: ["open"],
        Mode.PAUSED: ["open", "pause"],
        Mode.MAINTENANCE: ["maintenance"],
    }
    with ThreadPoolExecutor(2) as pool:
        for (start, way), first, second in itertools.product(starts.items(), CHANGES, CHANGES):
            for action in way:
                assert act(one, action)[0] == 200
            answers = [pool.submit(at_once, one, first), pool.submit(at_once, two, second)]
            got = [answer.result() for answer in answers]
            # No patience: it was answered, so it is done.
            assert modes(one, two) == [newest(one)] * 2, (start, first, second, got)
            # As if one had come after the other, whichever it was.
            assert got in (
                one_after_the_other(start, first, second),
                one_after_the_other(start, second, first)[::-1],
            ), (start, first, second)


def test_a_conflict_is_told_by_the_store(
    pair: Gateway, operators: tuple[httpx.Client, httpx.Client]
) -> None:
    """What a worker has not heard of yet counts for it all the same."""
    one, two = operators
    (store,) = (pair.folder / ".gateway").glob("*.db")
    # Written by nobody who would tell the workers: they have to find it by themselves.
    with sqlite3.connect(store, isolation_level=None, timeout=10) as db:
        db.execute("BEGIN IMMEDIATE")
        (number,) = db.execute(
            "INSERT INTO orders (kind, details, worker, asker)"
            " VALUES ('mode', '{\"site\": \"steady\", \"patience\": 0}', 'third', 'test')"
            " RETURNING number"
        ).fetchone()
        db.execute("INSERT OR REPLACE INTO modes VALUES ('steady', 'maintenance', ?)", (number,))
        db.execute("COMMIT")
        answers = [act(one, "pause"), act(two, "resume")]
    db.close()
    assert answers == [(409, "")] * 2
    until(lambda: modes(one, two) == ["maintenance"] * 2, "both follow")


def test_workers_agree_again_after_the_store_was_locked(
    pair: Gateway, operators: tuple[httpx.Client, httpx.Client]
) -> None:
    one, two = operators
    (store,) = (pair.folder / ".gateway").glob("*.db")
    holder = sqlite3.connect(store, isolation_level=None, timeout=10)
    for actions in (("maintenance", "pause"), ("open", "maintenance"), ("pause", "open")):
        assert act(one, "open")[0] == 200
        holder.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(act, *each) for each in zip((one, two), actions, strict=True)]
            # Each obeys alone, and says that the other does not know of it.
            assert {answer.result()[0] for answer in answers} == {504}
        holder.execute("ROLLBACK")
        until(lambda: "store" not in one.get("/_health").json(), "the store works again")
        until(lambda: "store" not in two.get("/_health").json(), "for both")
        until(lambda: len({*modes(one, two), newest(one)}) == 1, f"they agree after {actions}")
    holder.close()


def test_workers_agree_although_some_are_killed_amid_changes(
    pair: Gateway, site: BuiltSite
) -> None:
    chance = random.Random(22)
    enough = threading.Event()

    def operate(actions: list[str]) -> None:
        for action in itertools.cycle(actions):
            if enough.is_set():
                return
            # Who is killed answers nothing.
            with (
                suppress(httpx.TransportError),
                client_for("localhost", pair.port, bearer) as client,
            ):
                act(client, action)

    bearer = {"Authorization": f"Bearer {pair.token}"}
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(operate, ["pause", "resume"]), pool.submit(operate, ["open"])]
        for _ in range(3):
            victim = chance.choice(pair.workers())
            os.kill(victim, signal.SIGKILL)
            until(lambda gone=victim: gone not in pair.workers(), "it is gone")
            until(lambda: len(pair.workers()) == 2, "the supervisor has replaced it")
            wait_for_two(pair)
        enough.set()
        for each in done:
            each.result()

    def agreed() -> bool:
        with client_for("localhost", pair.port, bearer) as client:
            wanted = newest(client)
        return seen_modes(pair, 20) == {wanted}

    until(agreed, "all say what the history says")


def wait_for_two(gateway: Gateway) -> None:
    """Wait until both workers answer an operator."""
    found: set[str] = set()

    def both() -> bool:
        with suppress(httpx.TransportError):
            health = gateway.health()
            found.update({health["worker"]} if "worker" in health else ())
        return len(found) >= 2

    until(both, "two workers answer")


def seen_modes(gateway: Gateway, looks: int) -> set[str]:
    """The modes that operators see, each on a connection of its own."""
    return {gateway.health()["sites"]["steady"]["mode"] for _ in range(looks)}
