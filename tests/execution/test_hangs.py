"""Requests that hang: each has a thread more, however the look at them ends."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.config.limits import Limits
from gateway.execution.hangs import Hangs
from gateway.execution.passage import Passage

from .wsgi.asgi import DEADLINE, Client, Environ, StartResponse, bridge

pytestmark = pytest.mark.anyio

PLACES = 8
HANGING = 6
"""As many as one generation may have of the places."""


async def test_each_that_was_set_aside_has_a_thread_more_although_the_look_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add, added = Hangs._add, set[int]()

    def fail_for_the_last(hangs: Hangs, passage: Passage) -> None:
        if len(added) == HANGING - 1 and id(passage) not in added:
            raise LookupError
        added.add(id(passage))
        add(hangs, passage)

    monkeypatch.setattr(Hangs, "_add", fail_for_the_last)
    end = threading.Event()

    def hang(environ: Environ, start_response: StartResponse) -> list[bytes]:
        end.wait(DEADLINE)
        start_response("200 OK", [])
        return []

    async def until_there_are(threads: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while made.traffic.pool.figures().threads < threads:
                await asyncio.sleep(0.01)

    with bridge(hang, Limits(request_timeout=0.1), threads=PLACES) as made:
        pool, governor = made.traffic.pool, made.traffic.governor
        asked = [asyncio.create_task(Client().ask(made)) for _ in range(HANGING)]
        try:
            await until_there_are(HANGING)
            async with asyncio.timeout(DEADLINE):
                while governor.places.aside < HANGING - 1:
                    await asyncio.sleep(0.01)
            asked += [asyncio.create_task(Client().ask(made)) for _ in range(HANGING - 1)]
            await until_there_are(HANGING + HANGING - 1)
            assert pool.figures().waiting == 0
            assert "could not be looked for" in caplog.text
        finally:
            end.set()
            await asyncio.gather(*asked)
