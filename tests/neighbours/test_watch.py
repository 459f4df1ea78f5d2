"""The gateway's watch over itself: what it sees of faults that are put into it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from pathlib import Path
from typing import Any, Final

import pytest

from ..integration.actions import ask as send
from ..integration.servers import REPOSITORY
from ..integration.sites import BuiltSite
from ..integration.visitors import wait_for_workers
from ..integration.waiting import until
from .gateways import DoomedGateway, Start
from .hostile import database_site, plain_site
from .steady import SteadyLoad, ask, ask_at_once, try_to_ask

pytestmark = pytest.mark.timed

_FAULTS: Final = """
import importlib.abc, os, sys, time

TROUBLE = {trouble!r}

def happens(fault, site="hostile"):
    return os.path.exists(os.path.join(TROUBLE, fault))

def of_hostile(errand):
    threads = getattr(errand, "threads", None)
    return threads is not None and threads.reporter.site == "hostile"

def put_in(pool, passage, idle):
    step, released, check = pool.Worker._step, passage.Passage.released, idle.IdleSites.check

    def dying(self):  # a thread ends with what it has, and nobody notices
        if of_hostile(self.errand) and happens("death"):
            return False
        return step(self)

    def keeping(self):  # the thread goes on, and the place is never given back
        if not (of_hostile(self) and happens("leak")):
            released(self)

    def blocking(self):  # the event loop calls this once a second
        try:
            with open(os.path.join(TROUBLE, "block")) as file:
                seconds = float(file.read())
            os.unlink(file.name)
        except (OSError, ValueError):
            return check(self)
        block_the_loop(seconds)

    pool.Worker._step, passage.Passage.released, idle.IdleSites.check = dying, keeping, blocking
    pool.Pool.bury = lambda self: None

def block_the_loop(seconds):
    time.sleep(seconds)

import gateway.execution.pool, gateway.execution.passage, gateway.upkeep.idle
put_in(gateway.execution.pool, gateway.execution.passage, gateway.upkeep.idle)
"""
_HOLDING: Final = """
import ctypes

def hold(environ):
    ctypes.PyDLL(None).usleep(int(float(environ["QUERY_STRING"]) * 1e6))  # with the GIL
    return "held"
"""


class Faults:
    """Faults of the gateway, put in by files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.trouble = folder / "trouble"
        self.trouble.mkdir()
        (folder / "faults").mkdir()
        code = _FAULTS.format(trouble=str(self.trouble))
        (folder / "faults/sitecustomize.py").write_text(code)
        self.environ = {"PYTHONPATH": os.pathsep.join([str(folder / "faults"), str(REPOSITORY)])}

    def begin(self, fault: str) -> None:
        """Let it happen from now on."""
        (self.trouble / fault).touch()

    def end(self, fault: str) -> None:
        """Let it happen no more."""
        (self.trouble / fault).unlink()

    def block(self, seconds: float) -> None:
        """Have the event loop stand still, once, in one worker; returns when it does."""
        draft = self.trouble / "draft"
        draft.write_text(str(seconds))
        draft.rename(self.trouble / "block")
        until(lambda: not (self.trouble / "block").exists(), "the loop stands still")


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path)


def liveness(gateway: DoomedGateway, *, token: bool = False) -> tuple[int, dict[str, Any]]:
    """What anybody is told, or who has the token, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    headers = {"Host": "localhost", "Connection": "close"}
    if token:
        headers["Authorization"] = f"Bearer {gateway.token}"
    try:
        connection.request("GET", "/_health", headers=headers)
        with connection.getresponse() as answer:
            return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def stacks(gateway: DoomedGateway) -> list[str]:
    """What stands in the files of the workers that live or have left one."""
    return [path.read_text() for path in gateway.folder.rglob("stacks-*.txt")]


def hold(gateway: DoomedGateway, site: BuiltSite, seconds: float) -> socket.socket:
    """Have a view hold the GIL; returns its connection when the stacks have been written."""
    # The loads before were busy, and the watch is careful for a moment then.
    quiet = time.monotonic() + 4
    until(lambda: time.monotonic() > quiet, "the watch is armed")
    connection = send(gateway, site.host, f"GET /hold?{seconds}")
    until(lambda: any("in hold" in text for text in stacks(gateway)), "the stacks are written")
    return connection


@pytest.mark.parametrize("fault", ["death", "leak"])
def test_a_place_that_nobody_gives_back(
    start: Start, neighbour: BuiltSite, tmp_path: Path, faults: Faults, fault: str
) -> None:
    hostile = plain_site(tmp_path, "hostile", request_timeout=2)
    gateway = start(neighbour, hostile, environ=faults.environ)
    assert ask(gateway, hostile) == (200, "a page")
    assert liveness(gateway) == (200, {"status": "ok"})
    faults.begin(fault)
    with SteadyLoad(gateway, neighbour) as load:
        with send(gateway, hostile.host, "GET /?secret=1"):
            until(lambda: liveness(gateway)[0] == 503, "it is seen", patience=10)
        faults.end(fault)
        load.goes_on()
        assert ask(gateway, hostile) == (200, "a page")
    assert liveness(gateway) == (503, {"status": "stalled"})
    code, told = liveness(gateway, token=True)
    assert (code, told["status"]) == (503, "stalled")
    (seen,) = told["seen"]
    assert seen["what"] == "hostile: GET '/' has a place, and no thread has it"
    assert seen["until"] is None
    assert gateway.output.count(seen["what"]) == 1


def test_a_loop_that_stands_still(start: Start, neighbour: BuiltSite, faults: Faults) -> None:
    gateway = start(neighbour, environ=faults.environ)
    assert ask(gateway, neighbour)[0] == 200
    faults.block(4.5)
    until(lambda: any("in block_the_loop" in text for text in stacks(gateway)), "it is written")
    assert liveness(gateway) == (200, {"status": "degraded"})  # it is answered late
    (seen,) = liveness(gateway, token=True)[1]["seen"]
    assert seen["what"].startswith("the event loop stood still for at least ")
    assert seen["until"] > seen["since"]
    until(lambda: "in block_the_loop" in gateway.output, "the log has the stacks")
    until(lambda: stacks(gateway) == [""], "there is room for the next time")


def test_other_workers_tell_of_a_loop_that_stands_still(
    start: Start, neighbour: BuiltSite, faults: Faults
) -> None:
    gateway = start(neighbour, workers=2, environ=faults.environ)
    wait_for_workers(gateway, neighbour, 2)
    faults.block(18)

    def other() -> dict[str, Any] | None:
        code, told = liveness(gateway, token=True)
        (other,) = told["workers"].values()
        assert code == 200
        return {**other, "me": told} if other["status"] == "stalled" else None

    told = until(other, "the other one tells", patience=17)
    assert told["silent"] >= 10
    assert told["me"]["status"] == "degraded"
    (stalled,) = told["me"]["workers"]

    def answers() -> bool:
        code, told = liveness(gateway, token=True)
        return told["worker"] == stalled and (code, told["status"]) == (503, "stalled")

    until(answers, "it tells itself, afterwards")
    until(lambda: liveness(gateway)[1] == {"status": "degraded"}, "it is used again")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()


def test_a_view_that_holds_the_gil(start: Start, neighbour: BuiltSite, tmp_path: Path) -> None:
    hostile = plain_site(tmp_path, "hostile", _HOLDING)
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile)[0] == ask(gateway, neighbour)[0] == 200
    with hold(gateway, hostile, 7):
        # It is written while nobody but the view has the GIL.
        assert "the event loop stood still" not in gateway.output
        assert liveness(gateway)[1] == {"status": "degraded"}
    until(lambda: "while one of them had the GIL" in gateway.output, "the log has the stacks")
    assert "in hold" in gateway.output


def test_what_a_worker_leaves_is_in_the_log_of_the_next(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(tmp_path, "hostile", _HOLDING)
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile)[0] == 200
    with hold(gateway, hostile, 60):
        gateway.kill()
    second = start(neighbour, hostile)
    assert "a worker ended while its loop stood still" in second.output
    assert "in hold" in second.output
    assert stacks(second) == [""]
    second.stop()
    assert stacks(second) == []


def test_a_busy_gateway_sees_nothing(start: Start, neighbour: BuiltSite, tmp_path: Path) -> None:
    code = """
    import faulthandler
    import time

    def doze(environ):
        time.sleep(0.3)
        return "slept"

    def hang(environ):
        time.sleep(60)
        return "at last"

    def compute(environ):
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass
        return "computed"

    def compute_on(environ):
        end = time.monotonic() + 12
        while time.monotonic() < end:
            pass
        return "computed"

    def stream(environ):
        return (b"x" * 65536 for _ in range(1000))

    def meddle(environ):
        faulthandler.dump_traceback_later(0.01, exit=True)
        faulthandler.cancel_dump_traceback_later()
        faulthandler.dump_traceback_later(0.01, exit=True)
        time.sleep(0.1)
        return "meddled"
    """
    hostile = plain_site(tmp_path, "hostile", code, request_timeout=2)
    reading = database_site(
        tmp_path,
        "reading",
        """
        from django.db import connection
        from django.http import StreamingHttpResponse

        def stream(request):
            with connection.cursor() as cursor:
                cursor.execute("select 1")
            return StreamingHttpResponse(b"x" * 65536 for _ in range(1000))
        """,
        urls=("stream",),
    )
    gateway = start(neighbour, hostile, reading)
    assert ask(gateway, hostile, "/meddle") == (200, "meddled")
    assert ask(gateway, reading)[0] == 200
    with SteadyLoad(gateway, neighbour) as load:
        slow = [
            send(gateway, site.host, f"GET {path}")
            for site, path, count in (
                (hostile, "/hang", 10),
                (hostile, "/compute_on", 3),
                (hostile, "/stream", 20),
                (reading, "/stream", 20),
            )
            for _ in range(count)
        ]
        for _ in range(5):
            ask_at_once(gateway, hostile, ["/doze", "/compute"] * 5, timeout=30)
            load.goes_on()
        told = liveness(gateway, token=True)[1]
        assert told["sites"]["hostile"]["hung"]
        for connection in slow:
            connection.close()
        load.goes_on()
        assert try_to_ask(gateway, hostile) == 200
    told = liveness(gateway, token=True)[1]
    assert (told["status"], told.get("seen")) == ("ok", None), gateway.tail()
