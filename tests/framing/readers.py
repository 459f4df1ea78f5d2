"""What `gateway.protocol` and h11 make of a stream of bytes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import h11
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.front.head import HeadLimits, RefusedError, clean
from gateway.protocol import OFFER, Protocol

_TURNS: Final = 30
"""Turns of the event loop after which whoever still has something to do waits for more bytes."""


_ANSWER: Final = re.compile(
    rb"HTTP/1\.1 200 OK\r\ncontent-length: 0\r\nserver: the app\r\n(connection: close\r\n)?\r\n"
)
_ABSOLUTE: Final = re.compile(rb"(?i)^https?://[^/?#]*(/?)")


class Request(NamedTuple):
    """One request, as an application gets it."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass
class Reading:
    """What became of a stream: ``statuses`` of the answers; ``closed`` by the server's side."""

    requests: list[Request] = field(default_factory=list)
    closed: bool = False
    refused: bool = False
    reason: str = ""


def by_gateway(segments: Sequence[bytes], protocol: type[HttpToolsProtocol] = Protocol) -> Reading:
    """Read the segments one after the other as uvicorn does with a protocol class."""
    return asyncio.run(_read(segments, protocol))


def by_h11(stream: bytes) -> Reading:
    """Read the whole stream as a server on h11 does, which answers each request at once."""
    reading = Reading()
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(stream)
    try:
        while True:
            head = connection.next_event()
            if head is h11.NEED_DATA:
                return reading
            assert isinstance(head, h11.Request), head
            body = b""
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    return reading
                assert isinstance(event, h11.Data), event
                body += event.data
            headers = _comparable(list(head.headers))
            target = _ABSOLUTE.sub(b"/", head.target)
            if target.endswith(b"?") and target.count(b"?") == 1:
                target = target[:-1]  # ASGI has no empty query
            reading.requests.append(Request(head.method, target, headers, body))
            # A success would make a tunnel of what follows a CONNECT.
            status = 405 if head.method == b"CONNECT" else 200
            connection.send(h11.Response(status_code=status, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is h11.MUST_CLOSE:
                reading.closed = True
                return reading
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        reading.closed = reading.refused = True
        reading.reason = str(error)
        return reading


def _comparable(headers: list[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that are nobody's but the application's, in their order."""
    # h11 makes one of several equal lengths, and lower case of the coding; both only say how the
    # body is framed, and the body is compared itself.
    framing = OFFER | {b"connection", b"content-length", b"transfer-encoding"}
    return tuple(
        (name, value) for name, value in headers if name not in framing and not _is_dropped(name)
    )


def _is_dropped(name: bytes) -> bool:
    return b"_" in name


class Transport(asyncio.Transport):
    """A connection whose client reads at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        assert not self.closed, "written to a connection that was closed"
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


async def _read(segments: Sequence[bytes], kind: type[HttpToolsProtocol]) -> Reading:
    reading = Reading()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        try:
            clean(scope, HeadLimits(1 << 20, 1000))
        except RefusedError as error:
            reading.reason = error.rule.name
            await _answer(send, 400, [(b"connection", b"close")])
            return
        head, body, more = list(scope["headers"]), b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        assert scope["headers"] == head, "the head has changed under the application"
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        reading.requests.append(Request(scope["method"].encode(), target, _comparable(head), body))
        await _answer(send, 200, [(b"server", b"the app")])

    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    config.load()
    state, transport = ServerState(), Transport()
    protocol = kind(config, state, {})
    protocol.connection_made(transport)
    try:
        for segment in segments:
            if transport.closed:
                break
            protocol.data_received(segment)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
                if not state.tasks:
                    break
    finally:
        reading.closed = transport.closed
        protocol.connection_lost(None)
        while state.tasks:
            await asyncio.sleep(0)
    rest, answers = _ANSWER.subn(b"", transport.written)
    assert answers == len(reading.requests), "a request that was read was not answered"
    rest = rest.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    reading.refused = rest.startswith(b"HTTP/1.1 4")
    reading.reason = (reading.reason or "PARSER") if reading.refused else ""
    assert reading.refused or not rest, rest
    return reading


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    headers = [(b"content-length", b"0"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
