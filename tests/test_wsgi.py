from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from starlette.types import Message, Scope

from gateway.threads import Threads
from gateway.wsgi import Bridge

pytestmark = pytest.mark.anyio
DEADLINE = 30.0

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads("shop", 2)
    yield threads
    threads.shutdown()


class Client:
    """Speaks ASGI to the bridge, message by message."""

    def __init__(self, *body: Message) -> None:
        self.sent: list[Message] = []
        self._body = list(body)

    async def receive(self) -> Message:
        return self._body.pop(0) if self._body else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def scope(method: str = "GET", **headers: str) -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(key.replace("_", "-").encode(), v.encode()) for key, v in headers.items()],
        "server": ("shop.localhost", 80),
        "client": ("127.0.0.1", 1),
    }


def piece(body: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_the_server_going_away_while_sending_leaves_no_thread(threads: Threads) -> None:
    ended = threading.Event()

    def endless(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield b"x" * 1000
        finally:
            ended.set()

    class Leaving(Client):
        async def send(self, message: Message) -> None:
            await super().send(message)
            if len(self.sent) == 5:
                raise ConnectionResetError("gone")

    client = Leaving(piece(b"", False))
    with pytest.raises(ConnectionResetError, match="gone"):
        await Bridge(endless, threads)(scope(), client.receive, client.send)
    assert await asyncio.to_thread(ended.wait, DEADLINE)


async def test_a_cancelled_request_leaves_no_thread(threads: Threads) -> None:
    started, ended = asyncio.Event(), threading.Event()

    def endless(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield b"x"
        finally:
            ended.set()

    class Slow(Client):
        async def send(self, message: Message) -> None:
            started.set()
            await asyncio.Event().wait()

    client = Slow(piece(b"", False))
    request = asyncio.create_task(Bridge(endless, threads)(scope(), client.receive, client.send))
    await started.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert await asyncio.to_thread(ended.wait, DEADLINE)


async def test_an_upload_cut_short_is_an_error_for_the_view(threads: Threads) -> None:
    seen: list[BaseException] = []

    def upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as exc:  # what Django turns into UnreadablePostError
            seen.append(exc)
        start_response("400 Bad Request", [])
        return [b"incomplete"]

    client = Client(piece(b"half of it", True))
    await Bridge(upload, threads)(scope("POST", content_length="20"), client.receive, client.send)
    assert isinstance(seen[0], ConnectionResetError)
    assert client.content == b"incomplete"


async def test_an_error_in_the_view_reaches_the_caller(threads: Threads) -> None:
    def broken(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        raise LookupError("in the view")

    client = Client(piece(b"", False))
    with pytest.raises(LookupError, match="in the view"):
        await Bridge(broken, threads)(scope(), client.receive, client.send)
    assert client.sent == []


async def test_the_body_is_a_file_whatever_its_pieces(threads: Threads) -> None:
    def lines(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"]
        first = body.readline(100)
        start_response("200 OK", [("X-First", first.decode().strip())])
        return [b"|".join([body.read(3), *body.readlines()])]

    client = Client(piece(b"one\ntw", True), piece(b"", True), piece(b"o\nthree\n", False))
    await Bridge(lines, threads)(scope("POST"), client.receive, client.send)
    assert client.sent[0]["status"] == 200
    assert (b"x-first", b"one") in client.sent[0]["headers"]
    assert client.content == b"two|\n|three\n"


async def test_requests_on_one_thread_share_its_context() -> None:
    threads = Threads("shop", 1)
    clients: contextvars.ContextVar[int] = contextvars.ContextVar("clients", default=0)

    def counting(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        clients.set(clients.get() + 1)
        start_response("200 OK", [])
        return [str(clients.get()).encode()]

    bridge = Bridge(counting, threads)
    answers = []
    for _ in range(3):
        client = Client(piece(b"", False))
        await bridge(scope(), client.receive, client.send)
        answers.append(client.content)
    assert answers == [b"1", b"2", b"3"]
    threads.shutdown()
