"""A request leaves nothing behind that only a collection would find."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
import weakref
from collections.abc import Iterable, Iterator

import pytest

from gateway.errors import CodeError
from tests.execution.wsgi.asgi import CHUNKED, DEADLINE, Client, Environ, StartResponse, bridge

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def without_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def whole(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"whole"]


def piecewise(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    yield from (b"piece" * 100_000 for _ in range(5))


def written(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])(b"written")
    return []


def failing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise LookupError("of a site")


def failing_late(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    yield b"piece"
    raise LookupError("of a site")


@pytest.mark.parametrize("application", [whole, piecewise, written, failing, failing_late])
@pytest.mark.parametrize("client", ["stays", "leaves"])
async def test_what_a_request_was_made_of_is_gone(application: object, client: str) -> None:
    made: list[weakref.ref[object]] = []

    def watched(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        made.append(weakref.ref(start_response.__self__))
        return application(environ, start_response)

    with bridge(watched) as app:
        for _ in range(3):
            with contextlib.suppress(CodeError):
                visitor = Client(b"body")
                if client == "leaves":
                    asyncio.get_running_loop().call_later(0.01, visitor.left.set)
                await visitor.ask(app, "POST", headers=CHUNKED)
        deadline = time.monotonic() + DEADLINE
        while any(each() is not None for each in made):
            assert time.monotonic() < deadline, "a request is left as garbage"
            await asyncio.sleep(0.01)
    assert len(made) == 3
