"""Pause and maintenance hold in every worker, also in those that come later."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

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
