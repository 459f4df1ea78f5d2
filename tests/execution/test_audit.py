"""The audit of the places: what is lost is told at the second look, and nothing else is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from gateway.errors import CodeError
from gateway.execution.audit import Finding
from gateway.execution.governor import Governor
from gateway.execution.passage import Passage
from gateway.execution.pool import Pool
from gateway.execution.wsgi import Traffic
from gateway.execution.wsgi.response import HIGH_WATER

from .wsgi.asgi import Client, Environ, StartResponse, bridge

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def answer(environ: Environ, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [])
    return [b"done"]


def looks(traffic: Traffic) -> list[Finding]:
    """What two looks find, one after the other."""
    traffic.audit.look()
    return list(traffic.audit.look().values())


async def all_idle(traffic: Traffic) -> None:
    """Wait until no thread has anything to do."""
    while (figures := traffic.pool.figures()).idle < figures.threads:
        await asyncio.sleep(0.001)


async def test_a_request_that_runs_or_hangs_has_its_place() -> None:
    began, end = threading.Event(), threading.Event()

    def hang(environ: Environ, start_response: StartResponse) -> list[bytes]:
        began.set()
        end.wait(30)
        return answer(environ, start_response)

    with bridge(hang) as made:
        asking = asyncio.create_task(Client().ask(made))
        try:
            await asyncio.to_thread(began.wait, 30)
            assert looks(made.traffic) == []
            (passage,) = made.traffic.governor.running()
            assert isinstance(passage, Passage)
            assert passage.set_aside()
            assert looks(made.traffic) == []
        finally:
            end.set()
            await asking
        assert looks(made.traffic) == []


async def test_a_parked_response_with_connections_keeps_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading = asyncio.Event()

    class Reader(Client):
        async def send(self, message: object) -> None:
            await reading.wait()

    def stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(3):
            yield b"x" * HIGH_WATER

    with bridge(stream) as made:
        monkeypatch.setattr(made.executor.generation, "leave", lambda: "a connection")
        asking = asyncio.create_task(Reader().ask(made))
        while not made.traffic.governor.places.held:
            await asyncio.sleep(0.001)
        assert looks(made.traffic) == []
        reading.set()
        await asking
        await all_idle(made.traffic)
        assert looks(made.traffic) == []
        assert made.traffic.governor.holders() == []


async def test_a_place_that_is_not_given_back_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with bridge(answer) as made:
        await Client().ask(made)
        await all_idle(made.traffic)
        with monkeypatch.context() as patch:
            patch.setattr(Passage, "released", lambda self: None)
            await Client().ask(made)
            await all_idle(made.traffic)
        assert not made.traffic.audit.look()
        (found,) = made.traffic.audit.look().values()
        assert found == Finding("shop: GET '/' has a place, and no thread has it", True)
        (again,) = made.traffic.audit.look().values()
        assert again == found
        (ticket,) = made.traffic.governor.holders()
        made.traffic.governor.finished(ticket)
        assert not made.traffic.audit.look()


async def test_a_place_that_is_held_for_nobody_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    finished = Governor.finished
    with bridge(answer) as made:
        with monkeypatch.context() as patch:
            patch.setattr(Governor, "finished", lambda self, t, **_: finished(self, t, holds=True))
            await Client().ask(made)
            while not made.traffic.governor.places.held:
                await asyncio.sleep(0.001)
        await all_idle(made.traffic)
        assert [each.lost for each in looks(made.traffic)] == [True]


async def test_a_thread_that_has_died_has_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.execution.pool.Worker._step", lambda self: False)
    monkeypatch.setattr(Pool, "bury", lambda self: None)
    with bridge(answer) as made:
        asking = asyncio.create_task(Client().ask(made))
        while not made.traffic.pool.alive() or made.traffic.pool.alive()[0].is_alive():
            await asyncio.sleep(0.001)
        assert [each.lost for each in looks(made.traffic)] == [True]
        (thread,) = made.traffic.pool._workers
        made.traffic.pool.give_back(thread)  # type: ignore[arg-type]
        with pytest.raises(CodeError, match="thread"):
            await asking
        assert looks(made.traffic) == []


async def test_who_keeps_the_fast_lane_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    began, end = threading.Event(), threading.Event()

    def hang(environ: Environ, start_response: StartResponse) -> list[bytes]:
        began.set()
        end.wait(30)
        return answer(environ, start_response)

    with bridge(hang) as made:
        # Nobody looks at what runs.
        monkeypatch.setattr(made.traffic.governor, "tick", lambda: 0.01)
        asking = asyncio.create_task(Client().ask(made))
        try:
            await asyncio.to_thread(began.wait, 30)
            assert looks(made.traffic) == []
            began_at = time.monotonic()
            while time.monotonic() < began_at + 1.1:
                await asyncio.sleep(0.05)
            assert looks(made.traffic) == [
                Finding("shop: GET '/' keeps the place of quick requests", False)
            ]
        finally:
            end.set()
            await asking
