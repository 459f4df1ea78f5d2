"""Code that hangs, and code that never stops: numbers 6 and 11 of the issue."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from ..integration.actions import ask as send
from ..integration.actions import reload
from ..integration.sites import BuiltSite
from ..integration.waiting import until
from .gateways import DoomedGateway, Start
from .hostile import append, database_site, plain_site, write
from .steady import PROMPTLY, SteadyLoad, ask

pytestmark = pytest.mark.timed

_HANGS: Final = """
import threading

hanging = []

def hang(environ):
    hanging.append(None)
    threading.Event().wait()

def count(environ):
    return str(len(hanging))
"""
_LOOPS: Final = """
def loop(environ):
    while True:
        pass
"""
_CONNECTED: Final = """
def connect(request):
    from django.db import connection
    connection.ensure_connection()
    return HttpResponse("connected")
"""
_CONCURRENCY: Final = 64
"""Requests of one site that run at the same time, by default."""
_MORE: Final = 16
"""What is left of the threads (80 by default)."""


def _hang(gateway: DoomedGateway, site: BuiltSite, count: int, clients: ExitStack) -> None:
    for _ in range(count):
        clients.enter_context(send(gateway, site.host, "GET /hang"))


def test_06_hung_requests_count_across_generations(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(tmp_path, "hostile", _HANGS, drain_timeout=1)
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile) == (200, "a page")
    with ExitStack() as clients, SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        _hang(gateway, hostile, _CONCURRENCY - 1, clients)
        until(
            lambda: ask(gateway, hostile, "/count")[1] == str(_CONCURRENCY - 1),
            "all of them hang",
        )
        _hang(gateway, hostile, 1, clients)
        load.goes_on()
        assert reload(gateway, hostile).status_code == 200
        _hang(gateway, hostile, _MORE, clients)
        load.goes_on(100)


def test_06_a_reload_mends_a_site_that_hangs(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(tmp_path, "hostile", _HANGS, drain_timeout=1)
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile) == (200, "a page")
    with ExitStack() as clients, SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        # Its clients stay, and so does what waits for its turn.
        _hang(gateway, hostile, _CONCURRENCY + _MORE, clients)
        load.goes_on()
        write(hostile, 'def mended(environ):\n    return "it is"\n')
        answer = reload(gateway, hostile)
        assert answer.status_code == 200, answer.text
        assert ask(gateway, hostile, "/mended") == (200, "it is")
        load.goes_on()


def test_11_a_loop_whose_client_has_left_is_told(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(tmp_path, "hostile", _LOOPS, request_timeout=3)
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile) == (200, "a page")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        with send(gateway, hostile.host, "GET /loop"):
            load.goes_on(30)  # it is on a thread by now
        until(
            lambda: _told(gateway, "GET '/loop'"),
            "the log tells of it",
            patience=3 + 2 * PROMPTLY,
        )
        load.goes_on()


def test_11_a_request_that_is_late_is_told_by_method_and_path(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(tmp_path, "hostile", _LOOPS, request_timeout=1)
    gateway = start(neighbour, hostile)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        assert ask(gateway, hostile, "/loop", timeout=20)[0] == 504
        assert "in loop" in gateway.output, "the log has no stack of it"
        assert _told(gateway, "GET '/loop'"), "the log does not say which request it is"
        load.goes_on()


def test_11_a_loop_without_a_client_is_told_at_the_unload(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(tmp_path, "hostile", _LOOPS, drain_timeout=1)
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile) == (200, "a page")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        with send(gateway, hostile.host, "GET /loop"):
            load.goes_on(60)  # long enough that its leaving is noticed
        load.goes_on(60)
        assert reload(gateway, hostile).status_code == 200
        until(
            lambda: _told(gateway, "GET '/loop'"),
            "the unload tells of it",
            patience=1 + 3 * PROMPTLY,
        )
        load.goes_on()


def test_11_health_lists_a_loop_whose_client_has_left(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(tmp_path, "hostile", _LOOPS, request_timeout=2)
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile) == (200, "a page")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        with send(gateway, hostile.host, "GET /loop"):
            load.goes_on(30)  # it is on a thread by now
        until(
            lambda: "/loop" in str(gateway.health()),
            "its health lists it",
            patience=2 + 2 * PROMPTLY,
        )
        load.goes_on()


def test_threads_that_hang_elsewhere_hold_no_unloaded_generation(
    start: Start, tmp_path: Path
) -> None:
    hostile = plain_site(tmp_path, "hostile", _HANGS, request_timeout=1)
    reloaded = database_site(tmp_path, "reloaded", _CONNECTED, ("connect",))
    append(reloaded, "core/settings.py", 'DATABASES["default"]["CONN_MAX_AGE"] = None')
    gateway = start(hostile, reloaded)
    assert ask(gateway, hostile) == (200, "a page")
    with ExitStack() as clients:
        for hung in range(1, 6):
            # The thread that became idle last is taken first.
            assert ask(gateway, reloaded, "/connect") == (200, "connected")
            assert _connections(gateway, reloaded)
            _hang(gateway, hostile, 1, clients)
            until(lambda hung=hung: ask(gateway, hostile, "/count")[1] == str(hung), "it hangs")
            answer = reload(gateway, reloaded)
            assert answer.status_code == 200, answer.text
            until(lambda: not _connections(gateway, reloaded), "its connections are closed")
        until(
            lambda: gateway.output.count("is gone, seen") >= 5,
            "its generations are gone",
            patience=30,
        )
    assert "have not ended" not in gateway.output


def _connections(gateway: DoomedGateway, site: BuiltSite) -> int:
    """The number of files of a site's database that the gateway has open."""
    files = Path(f"/proc/{gateway.pid}/fd").iterdir()
    return sum(f"{site.name}.sqlite3" in os.path.realpath(file) for file in files)


def _told(gateway: DoomedGateway, request: str) -> bool:
    """Whether the log names a request with the stack of its code; access lines do not count."""
    own = "\n".join(line for line in gateway.output.splitlines() if not line.startswith("INFO: "))
    return request in own and "in loop" in own.partition(request)[2]
