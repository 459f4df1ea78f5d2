"""A request leaves nothing behind that only a collection would find."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from collections.abc import Iterable, Iterator

import pytest

from gateway.config.limits import Limits
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


def slowly(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    yield b"piece"
    time.sleep(0.1)  # the client that leaves has gone meanwhile
    yield b"piece"


def written(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])(b"written")
    return []


def failing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise LookupError("of a site")


def failing_late(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    yield b"piece"
    raise LookupError("of a site")


@pytest.mark.parametrize("application", [whole, piecewise, slowly, written, failing, failing_late])
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


async def test_an_exception_whose_stack_was_looked_at_is_gone() -> None:
    """``request_timeout`` is over while the text of the exception is made."""
    made: list[weakref.ref[object]] = []
    goes_on = threading.Event()

    class Slow(Exception):
        def __str__(self) -> str:
            goes_on.wait()
            return "at last"

    def raised() -> Slow:
        error = Slow()
        made.append(weakref.ref(error))
        return error

    def slow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        raise raised()

    with bridge(slow, Limits(request_timeout=0.1)) as app:
        visitor = await Client().ask(app)
        assert visitor.sent[0]["status"] == 504
        goes_on.set()
        deadline = time.monotonic() + DEADLINE
        while made[0]() is not None:
            assert time.monotonic() < deadline, "the exception is left as garbage"
            await asyncio.sleep(0.01)


class Unclosable:
    """Cannot be asked for its ``close``, and notes on which thread it ends."""

    def __init__(self, ended: list[int]) -> None:
        self._ended = ended

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"whole"])

    @property
    def close(self) -> object:
        raise LookupError("of a site")

    def __del__(self) -> None:
        self._ended.append(threading.get_ident())


async def test_what_an_application_returned_ends_on_the_thread_of_its_request() -> None:
    ended: list[int] = []

    def unclosable(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Unclosable(ended)

    with bridge(unclosable) as app:
        visitor = await Client().ask(app)
    assert visitor.sent[1]["body"] == b"whole"
    assert len(ended) == 1
    assert threading.get_ident() not in ended
