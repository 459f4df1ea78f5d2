"""Whatever the pieces and whenever a client leaves: the bytes of plain WSGI, or no success."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.execution.wsgi.asgi import CHUNKED, Client, Environ, StartResponse, bridge

PIECES = st.lists(st.binary(max_size=40_000), max_size=8)


@settings(max_examples=150, deadline=None)
@given(pieces=PIECES, sizes=st.lists(st.integers(1, 50_000), min_size=1, max_size=5))
def test_a_body_is_the_same_however_it_is_split_and_read(
    pieces: list[bytes], sizes: list[int]
) -> None:
    def read(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body, taken = environ["wsgi.input"], []
        for size in sizes:
            taken += [body.read(size), body.readline(size)]
        start_response("200 OK", [("X-Length", environ["CONTENT_LENGTH"])])
        return [b"".join(taken), *body]

    async def ask() -> Client:
        with bridge(read) as app:
            return await Client(*pieces, b"").ask(app, "POST", headers=CHUNKED)

    client = asyncio.run(ask())
    assert client.content == b"".join(pieces)
    assert client.headers[b"x-length"] == str(len(b"".join(pieces))).encode()


@settings(max_examples=150, deadline=None)
@given(pieces=PIECES, kind=st.sampled_from([list, tuple, iter, "generator", "write"]))
def test_a_response_is_the_same_however_it_is_split(pieces: list[bytes], kind: Any) -> None:
    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        if kind == "write":
            for piece in pieces:
                write(piece)
            return []
        return (piece for piece in pieces) if kind == "generator" else kind(pieces)

    async def ask() -> Client:
        with bridge(answer) as app:
            return await Client().ask(app)

    client = asyncio.run(ask())
    assert client.content == b"".join(pieces) and client.complete


@settings(max_examples=150, deadline=None)
@given(
    body=PIECES,
    response=st.lists(st.binary(min_size=1, max_size=90_000), min_size=1, max_size=8),
    leaves=st.integers(0, 12),
    how=st.sampled_from(["leaves", "fails", "cancelled"]),
)
def test_a_client_that_leaves_never_sees_a_truncated_success(
    body: list[bytes], response: list[bytes], leaves: int, how: str
) -> None:
    bodies: list[bytes] = []
    opened = closed = 0

    def answer(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        nonlocal opened, closed
        bodies.append(environ["wsgi.input"].read())
        opened += 1
        start_response("200 OK", [])
        try:
            yield from response
        finally:
            closed += 1

    class Leaving(Client):
        """Takes part in so many messages."""

        left_over = leaves

        def count(self) -> None:
            self.left_over -= 1
            if self.left_over < 0:
                if how == "fails":
                    raise ConnectionResetError
                if how == "cancelled":
                    raise asyncio.CancelledError
                self._messages.clear()
                self.left.set()

        async def receive(self) -> Any:
            if self._messages:
                self.count()
            return await super().receive()

        async def send(self, message: Any) -> None:
            self.count()
            await asyncio.sleep(0)
            if not self.left.is_set():
                await super().send(message)

    async def ask() -> Client:
        client = Leaving(*body, b"")
        gone = contextlib.suppress(ConnectionResetError, asyncio.CancelledError)
        with bridge(answer) as app, gone:  # leaving the bridge asserts that all threads end
            await client.ask(app, "POST", headers=CHUNKED)
        return client

    client = asyncio.run(ask())
    assert bodies in ([], [b"".join(body)]), "a body reaches the view whole or not at all"
    assert opened == closed
    if client.complete:
        assert client.content == b"".join(response)
    else:
        assert b"".join(response).startswith(client.content)
