"""What new code has to answer before it takes over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.config.limits import Limits
from gateway.errors import LoadError
from gateway.sites.probe import probe

pytestmark = pytest.mark.anyio


class App:
    """Answers with a status and a body of pieces; notes what it was asked and how it ended."""

    def __init__(self, status: int = 200, pieces: int = 1) -> None:
        self.status = status
        self.pieces = pieces
        self.scopes: list[Scope] = []
        self.ended = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": []})
            for _ in range(self.pieces):
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                await asyncio.sleep(0)
            await send({"type": "http.response.body"})
            self.ended = "complete"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


@pytest.mark.parametrize("status", [200, 302, 404, 499])
async def test_anything_below_500_is_good(entry: Any, status: int) -> None:
    app = App(status)
    await probe(app, entry("shop"))
    (scope,) = app.scopes
    assert (scope["method"], scope["path"]) == ("GET", "/")
    assert (b"host", b"shop.example") in scope["headers"]


@pytest.mark.parametrize("status", [500, 503, 599])
async def test_a_server_error_is_not(entry: Any, status: int) -> None:
    with pytest.raises(LoadError) as caught:
        await probe(App(status), entry("shop", probe="/health/?full=1"))
    assert caught.value.reason == (f"the probe GET /health/?full=1 was answered {status}")


async def test_the_path_is_asked_for_as_a_client_would(entry: Any) -> None:
    app = App()
    await probe(app, entry("shop", probe="/caf%C3%A9/?q=%20"))
    (scope,) = app.scopes
    assert (scope["path"], scope["raw_path"]) == ("/café/", b"/caf%C3%A9/")
    assert scope["query_string"] == b"q=%20"


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({"hosts": ("*.a.example", "b.example")}, b"b.example"),
        ({"hosts": ("*.a.example",), "probe_host": "x.a.example"}, b"x.a.example"),
        ({"hosts": ("*.a.example",)}, b"gateway-probe.a.example"),
    ],
)
async def test_the_host(entry: Any, fields: dict[str, Any], host: bytes) -> None:
    app = App()
    await probe(app, entry("shop", **fields))
    assert dict(app.scopes[0]["headers"])[b"host"] == host


async def test_no_probe(entry: Any) -> None:
    app = App(500)
    await probe(app, entry("shop", probe=None))
    assert not app.scopes


async def test_a_stream_without_an_end_is_left(entry: Any) -> None:
    app = App(pieces=1 << 60)
    await probe(app, entry("shop"))
    assert app.ended == "cancelled"


async def raises(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("two\nlines")


async def says_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("app", "what"),
    [
        (raises, "failed: RuntimeError: two lines"),
        (says_nothing, "ended without an answer"),
        (hangs, "took over 0.05 s"),
    ],
)
async def test_no_answer(entry: Any, app: ASGIApp, what: str) -> None:
    with pytest.raises(LoadError) as caught:
        await probe(app, entry("shop", limits=Limits(probe_timeout=0.05)))
    assert caught.value.reason == f"the probe GET / {what}"
    assert ("Traceback" in caught.value.traceback) is (app is raises)


async def test_giving_up_ends_the_question(entry: Any) -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
            await receive()  # a client that does not leave
        finally:
            ended.set()

    asking = asyncio.create_task(probe(app, entry("shop")))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert ended.is_set()
