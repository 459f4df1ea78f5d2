"""What new code has to answer before it takes over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.config.limits import Limits
from gateway.errors import LoadError, ProbeError
from gateway.front.proxies import hand_over
from gateway.sites.probe import PROBE, PROBE_ID, probe

pytestmark = pytest.mark.anyio


class App:
    """Answers with a status and a body of pieces; notes what it was asked and how it ended.

    With a ``location``, it redirects every request over http to that.
    """

    def __init__(self, status: int = 200, pieces: int = 1, location: str = "") -> None:
        self.status = status
        self.pieces = pieces
        self.location = location
        self.scopes: list[Scope] = []
        self.ended = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        try:
            status, headers = self.status, []
            if self.location and scope["scheme"] == "http":
                status, headers = 301, [(b"location", self.location.encode())]
            await send({"type": "http.response.start", "status": status, "headers": headers})
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


async def test_a_redirect_to_https_is_asked_again_over_https(entry: Any) -> None:
    app = App(location="HTTPS://www.shop.example/a")
    await probe(app, entry("shop", probe="/a"))
    plain, over_tls = app.scopes
    assert (plain["scheme"], plain["server"]) == ("http", ("shop.example", 80))
    assert (over_tls["scheme"], over_tls["server"]) == ("https", ("shop.example", 443))
    assert (over_tls["path"], dict(over_tls["headers"])[b"host"]) == ("/a", b"shop.example")
    assert b"x-forwarded-proto" not in dict(plain["headers"])
    assert dict(over_tls["headers"])[b"x-forwarded-proto"] == b"https"


async def test_what_is_behind_that_redirect_has_to_be_good(entry: Any) -> None:
    with pytest.raises(ProbeError) as caught:
        await probe(App(500, location="https://shop.example/"), entry("shop"))
    assert caught.value.reason == "the probe GET / over https was answered 500"


@pytest.mark.parametrize("location", ["/login", "http://shop.example/", "//shop.example/", ""])
async def test_any_other_redirect_is_good(entry: Any, location: str) -> None:
    app = App(500 if location else 302, location=location)
    await probe(app, entry("shop"))
    assert len(app.scopes) == 1


async def test_both_questions_have_one_time(entry: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["scheme"] == "https":
            await asyncio.Event().wait()
        await App(location="https://shop.example/")(scope, receive, send)

    with pytest.raises(ProbeError) as caught:
        await probe(app, entry("shop", limits=Limits(probe_timeout=0.05)))
    assert caught.value.reason == "the probe GET / over https took over 0.05 s"
    assert caught.value.late


async def test_the_exception_of_a_view_that_was_heard_is_told(entry: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard = scope["extensions"][PROBE]
        heard.reason, heard.traceback = "LookupError: nothing", "Traceback of a view"
        await App(500)(scope, receive, send)

    with pytest.raises(ProbeError) as caught:
        await probe(app, entry("shop"))
    assert caught.value.reason == "the probe GET / was answered 500: LookupError: nothing"
    assert caught.value.traceback == "Traceback of a view"


@pytest.mark.parametrize(("status", "late"), [(500, False), (503, False), (504, True)])
async def test_an_answer_of_the_gateway_that_the_time_is_over_is_late(
    entry: Any, status: int, late: bool
) -> None:
    with pytest.raises(ProbeError) as caught:
        await probe(App(status), entry("shop"))
    assert caught.value.late is late


async def test_its_id_is_none_that_a_visitor_could_have(entry: Any) -> None:
    app = App()
    await probe(app, entry("shop"))
    (scope,) = app.scopes
    given = dict(scope["headers"])[b"x-request-id"]
    assert given.decode().startswith(PROBE_ID)
    visit = {**scope, "headers": [(b"host", b"shop.example"), (b"x-request-id", given)]}
    assert not hand_over(visit, trusted=True).startswith(PROBE_ID)


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
