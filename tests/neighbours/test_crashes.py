"""Code that ends its process: numbers 7 and 8 of the issue."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx
import pytest

from ..integration.actions import reload
from ..integration.sites import BuiltSite
from ..integration.waiting import until
from .gateways import DoomedGateway, Start
from .hostile import plain_site, write
from .steady import SteadyLoad, ask, try_to_ask

pytestmark = pytest.mark.timed
_WORKERS: Final = 3
_TRIALS: Final = 3
"""Workers that a deploy may cost: the one that was asked, the one in its stead, one all alone."""
_STARTS: Final = 3
_ENDINGS: Final = {
    "exit": "os._exit(1)",
    "abort": "os.abort()",
    "kill": "os.kill(os.getpid(), 9)",
}


def _deadly(deaths: Path, ending: str = "os._exit(9)") -> str:
    """Code whose import ends the process, and notes that before."""
    return f"""
import os
with open({str(deaths)!r}, "a") as file:
    file.write(f"{{os.getpid()}}\\n")
{ending}
"""


def _deaths(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


def _in_use(gateway: DoomedGateway, *sites: BuiltSite, workers: int = _WORKERS) -> None:
    """Wait until each worker has loaded the sites and has said so."""

    def loaded() -> bool:
        for site in sites:
            assert try_to_ask(gateway, site) == 200
        health = gateway.health()
        told = [health["sites"], *(other["sites"] for other in health.get("workers", {}).values())]
        return len(told) == workers and all(
            worker.get(site.name, {}).get("state") == "ready" for worker in told for site in sites
        )

    until(loaded, "every worker has the sites")


def test_07_a_deploy_that_ends_each_process_that_imports_it(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    deaths = tmp_path / "deaths"
    hostile = plain_site(tmp_path, "hostile")
    gateway = start(neighbour, hostile, workers=_WORKERS)
    _in_use(gateway, neighbour, hostile)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        write(hostile, _deadly(deaths))
        _reload_and_see_it_die(gateway, hostile)
        forgiven = _TRIALS * load.visitors
        # Long enough for successors to start, and to die if they do.
        load.goes_on(400, forgiven=forgiven)
        assert _deaths(deaths) <= _TRIALS, f"{_deaths(deaths)} workers died"
        before = len(load.lost)
        load.goes_on(50, forgiven=before)
        # By whichever worker, the old code goes on or the site is down: it is asked for no more.
        for _ in range(10):
            try_to_ask(gateway, hostile)
        load.goes_on(50, forgiven=forgiven)
        assert _deaths(deaths) <= _TRIALS, f"{_deaths(deaths)} workers died"


@pytest.mark.parametrize("ending", _ENDINGS.values(), ids=_ENDINGS)
def test_07_a_site_that_dies_in_the_first_load_of_two_workers(
    start: Start, neighbour: BuiltSite, tmp_path: Path, ending: str
) -> None:
    deaths = tmp_path / "deaths"
    hostile = plain_site(tmp_path, "hostile")
    write(hostile, _deadly(deaths, ending))
    gateway = start(neighbour, workers=2)
    _in_use(gateway, neighbour, workers=2)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        gateway.write_sites({**gateway.sites, hostile.name: hostile.entry})
        until(lambda: try_to_ask(gateway, hostile) != 404, "its host is served")
        # Its visitors come again and again, whoever answers.
        forgiven = 2 * load.visitors

        def refused() -> bool:
            try_to_ask(gateway, hostile)
            load.goes_on(20, forgiven=forgiven)
            return "loading it ended the process" in str(gateway.health())

        until(refused, "its code is refused")
        before = len(load.lost)
        for _ in range(10):
            assert try_to_ask(gateway, hostile) == 503
            load.goes_on(20, forgiven=before)
        assert _deaths(deaths) == 2

        # Mended code is loaded, without anybody's asking for that.
        write(hostile, "")
        until(lambda: try_to_ask(gateway, hostile) == 200, "it is mended")
        load.goes_on(20, forgiven=before)


def _reload_and_see_it_die(gateway: DoomedGateway, site: BuiltSite) -> None:
    try:
        answer = reload(gateway, site)
    except httpx.TransportError:
        return  # the worker that was asked has ended
    assert answer.status_code >= 500, answer.text


@pytest.mark.parametrize("watched", [False, True], ids=["entry", "code"])
def test_07_an_edit_of_the_file_that_ends_each_process_that_follows_it(
    start: Start, neighbour: BuiltSite, tmp_path: Path, watched: bool
) -> None:
    deaths = tmp_path / "deaths"
    hostile = plain_site(tmp_path, "hostile")
    hostile.entry["watch"] = watched
    gateway = start(neighbour, hostile, workers=_WORKERS)
    _in_use(gateway, neighbour, hostile)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        write(hostile, _deadly(deaths))
        if not watched:
            edited = {**hostile.entry, "env": {"EDITED": "yes"}}
            gateway.write_sites({**gateway.sites, hostile.name: edited})
        until(lambda: _deaths(deaths) > 0, "the new code is tried")
        forgiven = _TRIALS * load.visitors
        load.goes_on(400, forgiven=forgiven)
        assert _deaths(deaths) <= _TRIALS, f"{_deaths(deaths)} workers died"


def test_07_a_restart_that_would_load_what_ends_the_process(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    deaths = tmp_path / "deaths"
    hostile = plain_site(tmp_path, "hostile")
    first = start(neighbour, hostile, workers=_WORKERS)
    _in_use(first, neighbour, hostile)
    write(hostile, _deadly(deaths))
    _reload_and_see_it_die(first, hostile)
    first.kill()
    first.kill_workers()
    # As systemd does it: again if it ends.
    errors = []
    for _ in range(_STARTS):
        try:
            gateway = start(neighbour, hostile)
        except AssertionError as error:
            errors.append(str(error).partition("\n")[0])
            continue
        with SteadyLoad(gateway, neighbour) as load:
            load.goes_on(100)
        return
    raise AssertionError(f"no start succeeds: {errors}")


def test_07_one_worker_without_a_supervisor(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    deaths = tmp_path / "deaths"
    hostile = plain_site(tmp_path, "hostile")
    write(hostile, _deadly(deaths))
    for death in (1, 2):
        gateway = start(neighbour, hostile)
        assert ask(gateway, neighbour)[0] == 200
        try_to_ask(gateway, hostile)
        until(lambda gateway=gateway: gateway.ended, "it ends")
        assert _deaths(deaths) == death
    gateway = start(neighbour, hostile)
    with SteadyLoad(gateway, neighbour) as load:
        assert try_to_ask(gateway, hostile) == 503
        load.goes_on()
    assert "loading it ended the process" in gateway.health()["sites"][hostile.name]["error"]
    assert _deaths(deaths) == 2


def test_07_who_kills_a_gateway_that_stops_has_no_site_blamed(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    hostile = plain_site(
        tmp_path,
        "hostile",
        f"""
        import os, time
        while not os.path.exists({str(mended)!r}):
            time.sleep(0.05)
        """,
    )
    for _ in range(2):
        gateway = start(neighbour, hostile)
        assert try_to_ask(gateway, hostile, timeout=0.5) is None, "it hangs"
        assert gateway.health()["sites"][hostile.name]["state"] == "loading"
        os.kill(gateway.pid, signal.SIGTERM)
        until(lambda gateway=gateway: _has_said_that_it_stops(gateway), "the others know")
        gateway.kill()
    gateway = start(neighbour, hostile)
    mended.touch()
    assert ask(gateway, hostile)[0] == 200
    assert "is loaded alone" not in gateway.output


def _has_said_that_it_stops(gateway: DoomedGateway) -> bool:
    """What the store has of it: it takes no more questions."""
    (store,) = (gateway.folder / ".gateway").rglob("*.db")
    with closing(sqlite3.connect(store)) as db:
        reports = db.execute("SELECT health FROM workers WHERE pid = ?", (gateway.pid,))
        return [json.loads(health)["status"] for (health,) in reports] == ["stopping"]


def test_08_an_exit_status_that_means_something_to_the_supervisor(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(
        tmp_path,
        "hostile",
        """
        import os

        def end(environ):
            os._exit(3)
        """,
    )
    gateway = start(neighbour, hostile, workers=2)
    assert ask(gateway, hostile) == (200, "a page")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        try_to_ask(gateway, hostile, "/end")
        load.goes_on(100, forgiven=load.visitors)
        assert not gateway.ended, "the supervisor ended everything"
        until(lambda: len(gateway.health().get("workers", {})) == 1, "a worker takes its place")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
