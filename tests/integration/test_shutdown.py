"""How the gateway ends, and how another takes its place without a lost request."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .actions import append, ask, open_gate
from .clients import client_for
from .programs import plain_environ
from .servers import PROTOCOL, REPOSITORY, Gateway
from .sites import BuiltSite, tiny_site
from .visitors import Visitors, visit
from .waiting import until


@pytest.fixture
def site(tmp_path: Path) -> BuiltSite:
    return tiny_site(tmp_path, "steady")


def _others(gateway: Gateway) -> dict[str, Any]:
    """What the worker that answers knows of the others."""
    others: dict[str, Any] = gateway.health().get("workers", {})
    return others


def _hold_requests(site: BuiltSite, gate: Path) -> None:
    """Let every request wait at the gate."""
    append(
        site,
        "core/views.py",
        f"\n_front = front\n\ndef front(request):\n    open({str(gate)!r}).read()\n"
        "    return _front(request)\n",
    )


def test_requests_in_flight_are_finished_and_the_other_worker_knows(
    site: BuiltSite, tmp_path: Path, gate: Path
) -> None:
    _hold_requests(site, gate)
    # With uvicorn's own protocol the last request of a new connection may be lost.
    options = ("--workers", "2", *PROTOCOL)
    with Gateway(tmp_path, {site.name: site.entry}, options=options) as gateway:
        until(lambda: len(_others(gateway)) == 1, "both workers are up")
        with ask(gateway, site.host, "GET /") as waiting:

            def serving() -> str | None:
                health = gateway.health()
                told = {id: other["sites"] for id, other in health.get("workers", {}).items()}
                told[health.get("worker", "")] = {
                    name: site for name, site in health["sites"].items() if site["state"] == "ready"
                }
                ready = [id for id, sites in told.items() if id and "steady" in sites]
                return ready[0] if ready else None

            worker = until(serving, "a worker has taken the request")
            os.kill(int(worker.split("-")[0]), signal.SIGTERM)
            until(
                lambda: _others(gateway).get(worker, {}).get("status") == "stopping",
                "the other says that it is stopping",
            )
            open_gate(gate)
            with waiting.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 200")


TIDY = """

import atexit, threading
from django.db.backends.signals import connection_created
from django.db import connection

NOTES = open(os.environ["NOTES"], "a", buffering=1)
atexit.register(lambda: print("atexit", connection.connection is None, file=NOTES))


def _watch(connection, **_):
    opened_on, close = threading.get_ident(), connection._close

    def _close():
        print("closed", threading.get_ident() == opened_on, file=NOTES)
        close()

    connection._close = _close


connection_created.connect(_watch, weak=False)


def front(request):
    with connection.cursor() as cursor:
        cursor.execute("select 1")
    return JsonResponse({"pid": os.getpid()})
"""
DATABASE = """
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "CONN_MAX_AGE": None,
}}
"""


@pytest.mark.parametrize("patience", ["0", "5"])
def test_sites_tidy_up_on_the_threads_that_own_their_connections(
    tmp_path: Path, patience: str
) -> None:
    notes = tmp_path / "notes"
    site = tiny_site(tmp_path, "tidy", NOTES=str(notes))
    append(site, "core/settings.py", DATABASE)
    append(site, "core/views.py", TIDY)
    options = ("--timeout-graceful-shutdown", patience)
    with Gateway(tmp_path, {site.name: site.entry}, options=options) as gateway:
        assert visit(gateway, site)["pid"] == gateway.pid
    assert notes.read_text().splitlines() == ["closed True", "atexit True"]


@pytest.mark.parametrize("patience", ["0", "1"])
def test_a_load_that_hangs_does_not_hold_up_the_end(
    tmp_path: Path, gate: Path, patience: str
) -> None:
    hung = tiny_site(tmp_path, "hung", GATE=str(gate))
    options = ("--timeout-graceful-shutdown", patience)
    gateway = Gateway(tmp_path, {hung.name: hung.entry}, options=options)
    with gateway, ask(gateway, hung.host, "GET /"):
        until(lambda: gateway.state_of("hung") == "loading", "the site is being loaded")
        # Leaving sends SIGTERM and sees that the process ends as it should.
    assert "Finished server process" in gateway.output


def test_a_gateway_on_a_passed_socket_is_replaced_without_a_lost_request(
    site: BuiltSite, tmp_path: Path
) -> None:
    gateway = Gateway(tmp_path, {site.name: site.entry})
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        gateway.port = listener.getsockname()[1]
        started = [_on_socket(listener, tmp_path)]
        try:
            first = visit(gateway, site)["pid"]
            with Visitors(gateway, site) as visitors:
                started[0].send_signal(signal.SIGTERM)
                assert started[0].wait(30) in Gateway.good_ends
                started.append(_on_socket(listener, tmp_path))
                until(lambda: visit(gateway, site)["pid"] != first, "the second one answers")
            assert visitors.lost == []
            operator = {"Authorization": f"Bearer {gateway.token}"}
            with client_for("localhost", gateway.port, operator) as client:
                (newest, *_) = client.get("/_history").json()["entries"]
            assert newest["asker"] == "start"
        finally:
            for process in started:
                process.kill()
                process.wait()


def _on_socket(listener: socket.socket, folder: Path) -> subprocess.Popen[bytes]:
    """A gateway that is given its socket, as systemd does."""
    number = str(listener.fileno())
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "gateway.main:app", "--fd", number, *PROTOCOL],
        cwd=folder,
        env=plain_environ(PYTHONPATH=str(REPOSITORY)),
        pass_fds=(listener.fileno(),),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
