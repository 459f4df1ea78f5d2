"""A client that sends requests without end, and what waits for it."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.protocol import FEW, PIECE, Protocol
from tests.framing.readers import Transport

REQUEST: Final = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
READ: Final = 1 << 18
"""Bytes that uvloop reads at once."""
MOST: Final = FEW + PIECE // len(REQUEST) + 1


@pytest.mark.parametrize("body", [b"", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"])
def test_few_requests_wait_and_the_rest_is_not_even_parsed(body: bytes) -> None:
    asyncio.run(_pipeline(body))


async def _pipeline(before: bytes) -> None:
    answered = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal answered
        await receive()
        answered += 1
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    config.load()
    protocol, transport = Protocol(config, ServerState(), {}), Transport()
    protocol.connection_made(transport)
    stream = before + b"123456789" * bool(before) + REQUEST * (2 * READ // len(REQUEST))
    sent = stream[: len(stream) // len(REQUEST) * len(REQUEST)]
    total = sent.count(b"HTTP/1.1")
    waiting = sent
    most = 0
    while answered < total:
        while waiting and not transport.paused:
            protocol.data_received(waiting[:READ])
            waiting = waiting[READ:]
        most = max(most, len(protocol.pipeline))
        before_turn = answered
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert answered > before_turn or waiting or protocol.pipeline
    assert most <= MOST
    protocol.connection_lost(None)
