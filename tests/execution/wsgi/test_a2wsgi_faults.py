"""What stock a2wsgi gets wrong: each case holds for the bridge, and fails on a2wsgi itself.

As in the gateway, the head of a request is checked before the bridge sees it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import CodeError
from gateway.front.head import HeadLimits, clean
from tests.execution.wsgi.asgi import (
    CHUNKED,
    DEADLINE,
    Application,
    Client,
    Environ,
    StartResponse,
    bridge,
)

pytestmark = pytest.mark.anyio


class World:
    """Runs a WSGI application on one of the two bridges."""

    def __init__(self, stock: bool) -> None:
        self.stock = stock
        # What does not happen on a2wsgi does not happen later either.
        self.patience = 0.5 if stock else DEADLINE

    def app(self, app: Application, stack: Any) -> ASGIApp:
        if self.stock:
            return WSGIMiddleware(app)
        served = stack.enter_context(bridge(app))

        async def checked(scope: Scope, receive: Receive, send: Send) -> None:
            clean(scope, HeadLimits(32768, 100))
            await served(scope, receive, send)

        return checked


@pytest.fixture(
    params=[
        pytest.param(False, id="gateway"),
        pytest.param(True, id="a2wsgi", marks=pytest.mark.xfail(strict=True, raises=Exception)),
    ]
)
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


@pytest.fixture
async def run(world: World) -> AsyncIterator[Any]:
    """``await run(app, client, method, **scope)``; raises if there is no end."""
    with contextlib.ExitStack() as stack:

        async def ask(app: Application, client: Client, method: str = "GET", **more: Any) -> Client:
            served = world.app(app, stack)
            async with asyncio.timeout(world.patience):
                return await client.ask(served, method, **more)

        yield ask


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [environ["wsgi.input"].read()]


def telling(*keys: str) -> Application:
    def tell(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return ["\n".join(str(environ.get(key)) for key in keys).encode("latin-1")]

    return tell


def endless(ended: threading.Event, size: int) -> Application:
    """Pieces of this size until ``ended``, which also says that it was closed."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        try:
            while not ended.is_set():
                yield b"x" * size
        finally:
            ended.set()

    return app


async def assert_closed(ended: threading.Event, world: World) -> None:
    closed = await asyncio.to_thread(ended.wait, world.patience)
    ended.set()  # or the thread would go on for ever
    assert closed


async def test_an_upload_cut_short_is_not_taken_for_a_complete_one(run: Any) -> None:
    seen: list[bytes] = []

    def upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(environ["wsgi.input"].read())
        start_response("200 OK", [])
        return [b"thank you"]

    client = Client(b"half", leaves=True)
    await run(upload, client, "POST", headers=[("content-length", "8")])
    assert seen == [] and client.sent == []


async def test_readline_with_a_size_reads(run: Any) -> None:
    def lines(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"|".join(iter(lambda: environ["wsgi.input"].readline(4), b""))]

    client = await run(lines, Client(b"one\ntwo", b"hree\n"), "POST", headers=CHUNKED)
    assert client.content == b"one\n|twoh|ree\n"


async def test_readlines_of_an_empty_body(run: Any) -> None:
    def lines(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [repr(environ["wsgi.input"].readlines()).encode()]

    assert (await run(lines, Client(b""), "POST", headers=CHUNKED)).content == b"[]"


async def test_read_of_none_reads_all(run: Any) -> None:
    def read(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read(None)]

    assert (await run(read, Client(b"a", b"b"), "POST", headers=CHUNKED)).content == b"ab"


async def test_a_chunked_body_has_a_length(run: Any) -> None:
    client = await run(telling("CONTENT_LENGTH"), Client(b"abc", b"de"), "POST", headers=CHUNKED)
    assert client.content == b"5"


async def test_several_cookie_headers_are_one(run: Any) -> None:
    cookies = [("cookie", "a=1"), ("cookie", "b=2")]
    client = await run(telling("HTTP_COOKIE"), Client(), headers=cookies)
    assert client.content == b"a=1; b=2"


async def test_a_name_with_underscores_takes_no_others_place(run: Any) -> None:
    headers = [("x_forwarded_for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.7")]
    client = await run(telling("HTTP_X_FORWARDED_FOR"), Client(), headers=headers)
    assert client.content == b"192.0.2.7"


async def test_proxy_does_not_become_http_proxy(run: Any) -> None:
    client = await run(telling("HTTP_PROXY"), Client(), headers=[("proxy", "http://evil.example")])
    assert client.content == b"None"


async def test_root_path_ends_where_a_segment_ends(run: Any) -> None:
    path = {"path": "/apple", "raw_path": b"/apple", "root_path": "/app"}
    client = await run(telling("SCRIPT_NAME", "PATH_INFO"), Client(), **path)
    assert client.content == b"/app\n/apple"


async def test_the_script_name_is_not_the_process_s(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPT_NAME", "/elsewhere")
    assert (await run(telling("SCRIPT_NAME"), Client())).content == b""


async def test_bytes_of_the_path_that_are_no_utf_8_arrive(run: Any) -> None:
    # A server has to decode path somehow; raw_path is what the client sent.
    client = await run(telling("PATH_INFO"), Client(), path="/caf\ufffd", raw_path=b"/caf%E9")
    assert client.content == b"/caf\xe9"


async def test_a_query_string_with_raw_bytes(run: Any) -> None:
    client = await run(telling("QUERY_STRING"), Client(), query_string=b"q=caf\xc3\xa9")
    assert client.content == b"q=caf\xc3\xa9"


async def test_a_cancelled_request_leaves_no_thread(world: World, run: Any) -> None:
    started, ended = asyncio.Event(), threading.Event()

    class Slow(Client):
        async def send(self, message: Any) -> None:
            started.set()
            await asyncio.Event().wait()

    request = asyncio.ensure_future(run(endless(ended, 10_000), Slow()))
    await started.wait()
    request.cancel()
    await asyncio.wait({request})
    await assert_closed(ended, world)


async def test_a_send_that_fails_leaves_no_thread(world: World, run: Any) -> None:
    ended = threading.Event()

    class Failing(Client):
        async def send(self, message: Any) -> None:
            raise ConnectionResetError("gone")

    with contextlib.suppress(ConnectionResetError, TimeoutError):
        await run(endless(ended, 10_000), Failing())
    await assert_closed(ended, world)


async def test_a_stream_to_a_client_that_left_is_closed(world: World, run: Any) -> None:
    ended = threading.Event()

    class Leaving(Client):
        async def send(self, message: Any) -> None:  # as uvicorn: says nothing
            self.left.set()

    with contextlib.suppress(TimeoutError):
        await run(endless(ended, 1), Leaving())
    await assert_closed(ended, world)


async def test_an_error_before_the_first_piece_leaves_room_for_another_answer(run: Any) -> None:
    def late(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        raise LookupError("in the view")
        yield b""

    client = Client()
    with pytest.raises((LookupError, CodeError), match="in the view"):
        await run(late, client)
    assert client.sent == [], "the head has left already"


async def test_a_second_start_response_with_exc_info_counts(run: Any) -> None:
    def failing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        try:
            raise LookupError("in the view")
        except LookupError:
            start_response("500 Oh", [("X-Second", "yes")], sys.exc_info())
        return [b"sorry"]

    client = await run(failing, Client())
    assert (client.status, client.content) == (500, b"sorry")


async def test_a_status_without_a_reason(run: Any) -> None:
    def short(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("204", [])
        return []

    assert (await run(short, Client())).status == 204


async def test_file_wrapper_and_the_rest_of_the_environ(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def look(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        assert environ["wsgi.input_terminated"] is True
        print("to the log", file=environ["wsgi.errors"])
        assert environ["wsgi.multiprocess"] is False
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](open(__file__, "rb"), 8192)

    with open(__file__, "rb") as file:
        assert (await run(look, Client())).content == file.read()
    assert capsys.readouterr().err == "to the log\n"


async def test_who_closes_the_log_closes_that_of_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def close(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.errors"].close()
        start_response("200 OK", [])
        return []

    with bridge(close) as app:
        assert (await Client().ask(app)).status == 200
    print("still there", file=sys.stderr)
    assert capsys.readouterr().err == "still there\n"


async def test_threads_are_not_each_application_s_own() -> None:
    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [threading.current_thread().name.encode()]

    with bridge(answer) as app:
        assert (await Client().ask(app)).content == b"gateway worker"
    stock = WSGIMiddleware(answer)
    assert (await Client().ask(stock)).content.startswith(b"WSGI")
    stock.executor.shutdown()
