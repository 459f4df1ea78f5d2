"""Code that ends its process: numbers 7 and 8 of the issue."""

from __future__ import annotations

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
unmended = pytest.mark.xfail(run=False, reason="known, and not mended yet")

_WORKERS: Final = 3
_TRIALS: Final = 3
"""Workers that a deploy may cost: the one that was asked, the one in its stead, one all alone."""
_STARTS: Final = 3


def _deadly(deaths: Path) -> str:
    """Code whose import ends the process, and notes that before."""
    return f"""
import os
with open({str(deaths)!r}, "a") as file:
    file.write(f"{{os.getpid()}}\\n")
os._exit(9)
"""


def _deaths(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


def _in_use(gateway: DoomedGateway, *sites: BuiltSite) -> None:
    """Wait until each worker has loaded the sites and has said so."""

    def loaded() -> bool:
        for site in sites:
            assert try_to_ask(gateway, site) == 200
        health = gateway.health()
        told = [health["sites"], *(other["sites"] for other in health.get("workers", {}).values())]
        return len(told) == _WORKERS and all(
            worker.get(site.name, {}).get("state") == "ready" for worker in told for site in sites
        )

    until(loaded, "every worker has the sites")


@unmended
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


def _reload_and_see_it_die(gateway: DoomedGateway, site: BuiltSite) -> None:
    try:
        answer = reload(gateway, site)
    except httpx.TransportError:
        return  # the worker that was asked has ended
    assert answer.status_code >= 500, answer.text


@unmended
def test_07_an_edit_of_the_file_that_ends_each_process_that_follows_it(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    deaths = tmp_path / "deaths"
    hostile = plain_site(tmp_path, "hostile")
    gateway = start(neighbour, hostile, workers=_WORKERS)
    _in_use(gateway, neighbour, hostile)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        write(hostile, _deadly(deaths))
        edited = {**hostile.entry, "env": {"EDITED": "yes"}}
        gateway.write_sites({**gateway.sites, hostile.name: edited})
        until(lambda: _deaths(deaths) > 0, "the new code is tried")
        forgiven = _TRIALS * load.visitors
        load.goes_on(400, forgiven=forgiven)
        assert _deaths(deaths) <= _TRIALS, f"{_deaths(deaths)} workers died"


@unmended
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
