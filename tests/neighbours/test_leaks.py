"""What is kept too long, not put back, or done at the wrong place: number 10 of the issue."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from gateway.backends.inprocess import InProcessBackend
from gateway.config import Config
from gateway.config.limits import Limits
from gateway.errors import LoadError
from gateway.execution.governor import Account
from gateway.sites.registry import Registry
from gateway.sites.sources import Sources, Tree

from ..backends.projects import project
from ..conftest import ConfigFactory, FakeBackend
from ..execution.test_governor import Simulation
from ..integration.actions import ask as send
from ..integration.servers import Gateway
from ..integration.sites import BuiltSite
from ..integration.waiting import until
from .gateways import Start
from .hostile import database_site, plain_site
from .steady import SteadyLoad, ask, try_to_ask

pytestmark = pytest.mark.timed

_BODY: Final = 900_000
"""Bytes of a body: as many as are held in memory."""
_BODIES: Final = 40
_ROUNDS: Final = 4
_NAMES: Final = 1_000


def test_10_requests_that_are_withdrawn_leave_the_queue_with_their_bodies(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(
        tmp_path,
        "hostile",
        """
        import threading

        def hang(environ):
            threading.Event().wait()
        """,
        concurrency=1,
    )
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile) == (200, "a page")
    with send(gateway, hostile.host, "GET /hang"), SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        _queue_and_leave(gateway, hostile, load)
        before = _resident(gateway)
        for _ in range(_ROUNDS):
            _queue_and_leave(gateway, hostile, load)
        grown = _resident(gateway) - before
        assert grown < 2 * _BODIES * _BODY, f"{grown >> 20} MB more after {_ROUNDS} rounds"
        load.goes_on()


def _queue_and_leave(gateway: Gateway, site: BuiltSite, load: SteadyLoad) -> None:
    """Have many requests with bodies wait for their turn, and leave."""
    for _ in range(_BODIES):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
            head = f"POST / HTTP/1.1\r\nHost: {site.host}\r\nContent-Length: {_BODY}\r\n\r\n"
            client.sendall(head.encode() + b"x" * _BODY)
    load.goes_on(100)  # longer than it takes to notice that they have left


def _resident(gateway: Gateway) -> int:
    """Bytes of memory of the process; see proc(5)."""
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found, status
    return int(found[1]) << 10


def test_10_a_thread_that_closes_connections_is_not_idle(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    closing = tmp_path / "closing"
    hostile = database_site(
        tmp_path,
        "hostile",
        f"""
        import time
        from django.db import connections

        def front(request):
            connections.close_all = close_slowly  # also of the load, otherwise
            return HttpResponse("a page")

        def close_slowly():
            open({str(closing)!r}, "w").close()
            time.sleep(10)
        """,
    )
    gateway = start(neighbour, hostile)
    assert ask(gateway, neighbour)[0] == 200
    assert ask(gateway, hostile) == (200, "a page")
    until(closing.exists, "the connections of an idle thread are closed")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()


def test_10_the_switch_interval_is_put_back() -> None:
    before = sys.getswitchinterval()
    world, site = Simulation(), Account(limit=50, queue=100)
    try:
        known = world.request(site)
        world.pass_time(20, known)
        known.end()
        running, waiting = world.request(site), world.request(site)
        assert world.governor.withdraw(waiting.ticket)
        assert sys.getswitchinterval() < before
        running.end()
        assert sys.getswitchinterval() == before
    finally:
        sys.setswitchinterval(before)


def test_10_code_whose_folder_has_gone_while_it_was_loaded_is_unloaded(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    ended = tmp_path / "ended"
    hostile = plain_site(
        tmp_path,
        "hostile",
        f"""
        import atexit
        import os

        atexit.register(lambda: open({str(ended)!r}, "w").close())
        os.mkdir({str(tmp_path / "gone")!r})
        os.chdir({str(tmp_path / "gone")!r})
        os.rmdir({str(tmp_path / "gone")!r})
        """,
    )
    gateway = start(neighbour, hostile)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        assert try_to_ask(gateway, hostile) == 503
        until(ended.exists, "what did not come up is unloaded", patience=10)
        load.goes_on()


@pytest.mark.anyio
async def test_10_a_late_load_is_not_unloaded_on_the_event_loop(tmp_path: Path) -> None:
    unloaded = tmp_path / "unloaded"
    config = project(
        tmp_path,
        f"""
        import atexit
        import threading

        def note():
            with open({str(unloaded)!r}, "w") as file:
                file.write(str(threading.get_ident()))

        atexit.register(note)

        def application(environ, start_response):
            raise AssertionError("nobody asks")
        """,
    )
    config = replace(config, limits=Limits(load_timeout=0.5))
    async with InProcessBackend(threads=2) as backend:
        loading = asyncio.create_task(backend.load(config, 1))
        while not any("loader" in thread.name for thread in threading.enumerate()):
            await asyncio.sleep(0)
        # Something else holds the loop: the load is complete, and late, when it goes on.
        time.sleep(1.5)
        with pytest.raises(LoadError):
            await loading
        await asyncio.to_thread(until, unloaded.exists, "it is unloaded", patience=10)
    assert int(unloaded.read_text()) != threading.get_ident()


def test_10_folders_are_looked_at_while_a_load_adds_others(tmp_path: Path) -> None:
    sources = Sources()
    adding: list[threading.Thread] = []

    class Growing(Tree):
        """One amid whose turn a load on another thread reads its templates."""

        def files(self) -> Iterator[str]:
            if not adding:
                more = [Tree(str(tmp_path / str(number)), frozenset()) for number in range(9)]
                adding.append(threading.Thread(target=sources.add_trees, args=(more,)))
                adding[0].start()
                adding[0].join(1)
            return super().files()

    sources._trees.add(Growing(str(tmp_path), frozenset({".html"})))
    (tmp_path / "page.html").touch()
    assert sources.changed() == [str(tmp_path / "page.html")]
    adding[0].join()


@pytest.mark.anyio
async def test_10_names_of_sites_that_have_left_are_forgotten(
    backend: FakeBackend, config: ConfigFactory
) -> None:
    configs = iter(
        [
            *(
                config(*(f"site{number}" for number in range(begin, begin + _NAMES)))
                for begin in range(0, 3 * _NAMES, _NAMES)
            ),
            config("last"),
        ]
    )

    def read(names: frozenset[str]) -> Config:
        return next(configs)

    registry = Registry(next(configs), backend, read)
    async with registry:
        for _ in range(3):
            await registry.refresh()
        assert [site.name for site in registry.status().sites] == ["last"]
        while registry._leaving:
            await asyncio.sleep(0)
        kept = {
            attribute: len(value)
            for attribute, value in vars(registry).items()
            if isinstance(value, Mapping) and len(value) > _NAMES
        }
        assert kept == {}, "it keeps the names of sites that have left"
