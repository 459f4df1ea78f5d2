"""Who ended a worker is said on evidence, and whoever does it twice is set aside: number 8."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..integration.actions import reload
from ..integration.sites import BuiltSite
from ..integration.waiting import until
from .gateways import DoomedGateway, Start
from .hostile import plain_site, write
from .steady import SteadyLoad, ask, try_to_ask

pytestmark = pytest.mark.timed

DEADLY = """
import ctypes, faulthandler, os, signal, threading, time

def segfault(environ):
    faulthandler.disable()
    ctypes.string_at(0)

def abort(environ):
    os.abort()

def exit3(environ):
    os._exit(3)

def exit259(environ):
    import posix
    posix._exit(259)

def exit0(environ):
    os._exit(0)

def killed(environ):
    os.kill(os.getpid(), signal.SIGKILL)

def raised(environ):
    signal.raise_signal(signal.SIGKILL)

def thread_killed(environ):
    signal.pthread_kill(threading.get_ident(), signal.SIGKILL)

def sent_segfault(environ):
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(9)

def killed_from_outside(environ):
    os.spawnlp(os.P_WAIT, "kill", "kill", "-KILL", str(os.getpid()))

def supervisor(environ):
    sent = []
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        try:
            os.kill(os.getppid(), number)
        except (SystemExit, PermissionError) as exc:
            sent.append(type(exc).__name__)
    return " ".join(sent)

def thread(environ):
    threading.Thread(target=ctypes.string_at, args=(0,)).start()
    time.sleep(9)

def forked(environ):
    if (pid := os.fork()) == 0:
        ctypes.string_at(0)
    _, status = os.waitpid(pid, 0)
    return str(os.waitstatus_to_exitcode(status))

def forked_exit(environ):
    if (pid := os.fork()) == 0:
        os._exit(3)
    _, status = os.waitpid(pid, 0)
    return str(os.waitstatus_to_exitcode(status))
"""
AT = " in the code of site hostile, generation 1, at GET '"
SEGFAULT = "a segmentation fault in the code of site hostile, generation 1"


def _hostile(folder: Path, code: str = DEADLY) -> BuiltSite:
    return plain_site(folder, "hostile", code)


def _crashes(gateway: DoomedGateway) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = gateway.health().get("crashes", [])
    except httpx.TransportError:  # that worker ends just now
        return []
    return found


def _die(gateway: DoomedGateway, site: BuiltSite, path: str) -> dict[str, Any]:
    """End a worker by a page, and return what is told of it when another has taken its place."""
    before = len(_crashes(gateway))
    assert try_to_ask(gateway, site, path) is None
    told: list[dict[str, Any]] = []

    def is_told() -> bool:
        told[:] = _crashes(gateway)
        return len(told) > before

    until(is_told, "the end is told")
    until(lambda: len(gateway.health().get("workers", {})) == 1, "a worker takes its place")
    return told[0]


def _wait_for_its_end(gateway: DoomedGateway) -> None:
    until(lambda: gateway.ended, "it ends")


def _history(gateway: DoomedGateway, event: str) -> list[dict[str, Any]]:
    entries = gateway.operator().get("/_history").json()["entries"]
    return [entry for entry in entries if entry["event"] == event]


@pytest.mark.parametrize(
    ("page", "how"),
    [
        ("segfault", SEGFAULT),
        ("abort", "an abort (SIGABRT) in the code of site hostile, generation 1"),
        ("thread", SEGFAULT),
        ("exit3", "os._exit(3) in the code of site hostile, generation 1, at GET '/exit3'"),
        ("exit259", "os._exit(259) in the code of site hostile, generation 1, at GET '/exit259'"),
        ("exit0", "os._exit(0) in the code of site hostile, generation 1, at GET '/exit0'"),
        ("killed", f"os.kill(…, SIGKILL){AT}/killed'"),
        ("raised", f"signal.raise_signal(SIGKILL){AT}/raised'"),
        ("thread_killed", f"signal.pthread_kill(…, SIGKILL){AT}/thread_killed'"),
        ("sent_segfault", f"os.kill(…, SIGSEGV){AT}/sent_segfault'"),
        ("killed_from_outside", None),
    ],
)
def test_08_who_ended_a_worker(
    start: Start, neighbour: BuiltSite, tmp_path: Path, page: str, how: str | None
) -> None:
    hostile = _hostile(tmp_path)
    gateway = start(neighbour, hostile, workers=2)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        told = _die(gateway, hostile, f"/{page}?password=secret")
        load.goes_on(forgiven=load.visitors)
        assert not gateway.ended
        if how is None:
            assert "site" not in told
            assert told["how"] == "it was killed, or has left no trace"
        else:
            assert (told["site"], told["generation"], told["how"]) == ("hostile", 1, how)
            assert f"was ended by {how}" in gateway.output
            assert 'app.py", line' in gateway.output or page == "thread"
            assert "secret" not in gateway.output
        (entry,) = _history(gateway, "worker")
        assert (entry["worker"], entry["site"]) == (told["worker"], told.get("site", ""))
        assert gateway.health()["sites"]["hostile"]["aside"] is None
        assert ask(gateway, hostile) == (200, "a page")


def test_08_a_site_that_signals_the_supervisor_ends_nobody(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = _hostile(tmp_path)
    gateway = start(neighbour, hostile, workers=2)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        workers = sorted(gateway.workers())
        told = ask(gateway, hostile, "/supervisor")
        assert told == (200, "SystemExit SystemExit PermissionError")
        write(hostile, "import os\nos.kill(os.getppid(), 15)")
        answer = reload(gateway, hostile)
        assert (answer.status_code, "SystemExit" in answer.text) == (500, True)
        load.goes_on(100)
        assert sorted(gateway.workers()) == workers
        assert not gateway.ended


@pytest.mark.parametrize("page", ["exit0", "exit3"])
def test_08_a_gateway_that_a_site_ends_has_not_ended_well(
    start: Start, neighbour: BuiltSite, tmp_path: Path, page: str
) -> None:
    """With status 0, ``Restart=on-failure`` of systemd would not start it again."""
    hostile = _hostile(tmp_path)
    gateway = start(neighbour, hostile)
    assert try_to_ask(gateway, hostile, f"/{page}") is None
    _wait_for_its_end(gateway)
    assert gateway.status == 70


def test_08_the_second_time_sets_a_site_aside_until_it_is_reloaded(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = _hostile(tmp_path)
    gateway = start(neighbour, hostile, workers=2)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        _die(gateway, hostile, "/segfault")
        assert ask(gateway, hostile) == (200, "a page")
        _die(gateway, hostile, "/exit3")
        until(lambda: try_to_ask(gateway, hostile) == 503, "it is set aside")
        # By both workers, and by one that starts and would load what was in use.
        for _ in range(20):
            status, page = ask(gateway, hostile)
            assert (status, "has crashed the server" in page) == (503, True)
        health = gateway.health()
        assert health["status"] == "degraded"
        assert "ended 2 workers within 5 minutes" in health["sites"]["hostile"]["aside"]
        assert gateway.operator().get("/_health/hostile").status_code == 503
        assert "hostile: set aside: " in gateway.output
        assert not gateway.ended
        forgiven = 2 * load.visitors
        load.goes_on(forgiven=forgiven)
        # What does not concern it does not let it in.
        gateway.write_sites(
            {**gateway.sites, "more": {**neighbour.entry, "hosts": ["m.localhost"]}}
        )
        until(lambda: "more" in gateway.health()["sites"], "the file is read")
        assert gateway.operator().post("/_reload").status_code == 200
        assert try_to_ask(gateway, hostile) == 503
        write(hostile, "")
        assert reload(gateway, hostile).status_code == 200
        for _ in range(20):
            assert ask(gateway, hostile) == (200, "a page")
        until(lambda: gateway.health()["status"] == "ok", "all workers are well")
        asides = [(e["site"], e["result"]) for e in _history(gateway, "aside")]
        assert asides == [("hostile", "let in"), ("hostile", "set aside")]
        load.goes_on(forgiven=forgiven)


def test_08_a_changed_entry_lets_it_in(start: Start, neighbour: BuiltSite, tmp_path: Path) -> None:
    hostile = _hostile(tmp_path)
    gateway = start(neighbour, hostile, workers=2, environ={"GATEWAY_CRASH_LIMIT": "1"})
    _die(gateway, hostile, "/exit0")
    until(lambda: try_to_ask(gateway, hostile) == 503, "it is set aside")
    gateway.write_sites({**gateway.sites, "hostile": {**hostile.entry, "env": {"EDITED": "yes"}}})
    until(lambda: try_to_ask(gateway, hostile) == 200, "it is let in")


def test_08_without_a_limit_nobody_is_set_aside(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = _hostile(tmp_path)
    gateway = start(neighbour, hostile, workers=2, environ={"GATEWAY_CRASH_LIMIT": "0"})
    for _ in range(3):
        _die(gateway, hostile, "/exit0")
    assert ask(gateway, hostile) == (200, "a page")


def test_08_workers_that_end_again_and_again_without_evidence_are_told_of(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = _hostile(tmp_path)
    gateway = start(neighbour, hostile, workers=2)
    for _ in range(3):
        assert "seen" not in gateway.health()
        _die(gateway, hostile, "/killed_from_outside")
    text = "3 workers have ended within 5 minutes, and nothing shows which site ended them"

    def told() -> bool:
        health = gateway.health()
        if text not in str(health.get("seen")):
            return False  # by the worker that has just started
        assert health["status"] == "degraded"
        return True

    for _ in range(10):
        until(told, "it is told")
    assert ask(gateway, hostile) == (200, "a page")


def test_08_the_next_start_of_a_single_worker_knows(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = _hostile(tmp_path)
    for _ in range(2):
        doomed = start(neighbour, hostile)
        assert try_to_ask(doomed, hostile, "/segfault") is None
        _wait_for_its_end(doomed)
    gateway = start(neighbour, hostile)
    assert try_to_ask(gateway, hostile) == 503
    assert ask(gateway, neighbour)[0] == 200
    assert gateway.output.count(f"was ended by {SEGFAULT}") == 1
    folder = gateway.folder / ".gateway"
    until(lambda: len(list(folder.glob("crash-*"))) == 1, "files of earlier workers are removed")
    os.kill(gateway.pid, signal.SIGTERM)
    _wait_for_its_end(gateway)
    assert list(folder.glob("crash-*")) == []


@pytest.mark.parametrize("page", ["exit3", "killed"])
def test_08_a_load_is_not_suspected_of_what_another_site_has_done(
    start: Start, neighbour: BuiltSite, tmp_path: Path, page: str
) -> None:
    hostile = _hostile(tmp_path)
    slow = plain_site(tmp_path, "slow", "import time; time.sleep(3)")
    for _ in range(2):
        doomed = start(neighbour, hostile, slow)
        assert ask(doomed, hostile)[0] == 200
        with ThreadPoolExecutor(1) as visitor:
            visit = visitor.submit(try_to_ask, doomed, slow)
            until(lambda: doomed.health()["sites"]["slow"]["state"] == "loading", "it loads")  # noqa: B023
            assert try_to_ask(doomed, hostile, f"/{page}") is None
            assert visit.result() is None
        _wait_for_its_end(doomed)
    gateway = start(neighbour, hostile, slow)
    assert [told["site"] for told in _crashes(gateway)] == ["hostile", "hostile"]
    assert ask(gateway, slow)[0] == 200
    assert "slow: is loaded alone" not in gateway.output


def test_08_a_child_that_a_site_has_forked_is_no_worker(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = _hostile(tmp_path)
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile, "/forked") == (200, str(-signal.SIGSEGV))
    assert ask(gateway, hostile, "/forked_exit") == (200, "3")
    (evidence,) = (gateway.folder / ".gateway").glob("crash-*")
    assert len(evidence.read_text().splitlines()) == 1
    gateway.kill()
    again = start(neighbour, hostile)
    until(lambda: _crashes(again), "its end is told")
    assert [told.get("site") for told in _crashes(again)] == [None]
