"""What is kept too long, not put back, or done at the wrong place: number 10 of the issue."""

from __future__ import annotations

import asyncio
import gc
import io
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
from gateway.sites.reloads import Reloads
from gateway.sites.sources import Sources, Tree

from ..backends.projects import project
from ..conftest import ConfigFactory, FakeBackend
from ..execution.test_governor import Simulation
from ..execution.wsgi.asgi import Client, Environ, StartResponse, bridge
from ..integration.sites import BuiltSite
from ..integration.waiting import until
from .gateways import Start
from .hostile import database_site, plain_site
from .steady import SteadyLoad, ask, try_to_ask

pytestmark = pytest.mark.timed

_BODY: Final = 123_457
"""Bytes of a body, by which it is told from others."""
_BODIES: Final = 10
_HEADERS: Final = [("content-length", str(_BODY))]
_NAMES: Final = 1_000


@pytest.mark.anyio
async def test_10_requests_that_are_withdrawn_leave_the_queue_with_their_bodies() -> None:
    began, end = threading.Event(), threading.Event()

    def hang(environ: Environ, start_response: StartResponse) -> list[bytes]:
        began.set()
        end.wait(30)
        start_response("200 OK", [])
        return [b"at last"]

    with bridge(hang, Limits(concurrency=1)) as made:
        hanging = asyncio.create_task(Client().ask(made))
        try:
            await asyncio.to_thread(began.wait, 30)
            clients = [Client(b"x" * _BODY) for _ in range(_BODIES)]
            asking = [
                asyncio.create_task(client.ask(made, "POST", headers=_HEADERS))
                for client in clients
            ]
            while len(_bodies()) < _BODIES:
                await asyncio.sleep(0.01)
            for client in clients:
                client.left.set()
            await asyncio.wait_for(asyncio.gather(*asking), 30)
            del asking, clients
            assert len(_bodies()) == 0, "bodies of requests that nobody wants are kept"
        finally:
            end.set()
            await hanging


def _bodies() -> list[io.BytesIO]:
    """The bodies that are in memory and will not go by themselves."""
    gc.collect()
    found = (each for each in gc.get_objects() if type(each) is io.BytesIO)
    return [each for each in found if each.getbuffer().nbytes == _BODY]


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
        import time

        time.sleep(0.2)  # it is still loading when the loop is held

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
        before = set(threading.enumerate())
        loading = asyncio.create_task(backend.load(config, 1))
        while not any("loader" in each.name for each in {*threading.enumerate()} - before):
            await asyncio.sleep(0)
        # Something else holds the loop: the load is complete, and late, when it goes on.
        time.sleep(1.5)
        with pytest.raises(LoadError):
            await loading

        def is_noted() -> bool:
            return unloaded.exists() and unloaded.read_text() != ""

        await asyncio.to_thread(until, is_noted, "it is unloaded", patience=10)
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

    registry = Registry(next(configs), backend)
    async with registry, Reloads(registry, read) as reloads:
        for _ in range(3):
            await reloads.refresh()
        assert [site.name for site in registry.status().sites] == ["last"]
        while registry._leaving:
            await asyncio.sleep(0)
        kept = {
            attribute: len(value)
            for attribute, value in vars(registry).items()
            if isinstance(value, Mapping) and len(value) > _NAMES
        }
        assert kept == {}, "it keeps the names of sites that have left"
