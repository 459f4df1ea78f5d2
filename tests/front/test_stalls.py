from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import closing, suppress

import pytest
from starlette.types import Message

from gateway.front.stalls import Blind, StalledError, Stalls, stalls_of, taken

pytestmark = pytest.mark.anyio

SHORT = 0.01
"""Seconds between two looks, and longer than any client here is waited for."""
DEADLINE = 30.0


class Watched:
    """A client whose marks are these, the last one for ever."""

    def __init__(self, *marks: Hashable, send_timeout: float = SHORT / 10) -> None:
        self.send_timeout = send_timeout
        self.is_cut = asyncio.Event()
        self.looks = 0
        self._marks = iter(marks)
        self._mark: Hashable = None

    def mark(self) -> Hashable:
        self.looks += 1
        self._mark = next(self._marks, self._mark)
        return self._mark

    def cut(self) -> None:
        self.is_cut.set()


class Failing(Watched):
    def mark(self) -> Hashable:
        raise LookupError("a defect")


async def test_only_who_takes_nothing_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    stalls = Stalls(asyncio.get_running_loop(), SHORT)
    stalled = Watched(1, 2, None, 3)
    reads = Watched(*range(100))
    quiet = Watched(None)
    patient = Watched(1, send_timeout=0)
    others = [Failing(), reads, quiet, patient]
    for each in (*others, stalled):
        stalls.add(each)
    async with asyncio.timeout(DEADLINE):
        await stalled.is_cut.wait()
    assert stalled.looks == 5, "the times of the third mark and of nothing do not count"
    assert not any(each.is_cut.is_set() for each in others)
    assert "a defect" in caplog.text
    for each in (*others, stalled):
        stalls.discard(each)


async def test_a_loop_has_one_look_for_all() -> None:
    loop = asyncio.get_running_loop()
    assert stalls_of(loop) is stalls_of(loop)


async def test_there_are_no_looks_without_clients() -> None:
    loop = asyncio.get_running_loop()
    stalls, watched = Stalls(loop, SHORT), Watched(1, send_timeout=0)
    stalls.add(watched)
    stalls.discard(watched)
    assert stalls._timer is not None
    async with asyncio.timeout(DEADLINE):
        while stalls._timer is not None:
            await asyncio.sleep(SHORT)
    assert watched.looks == 0


# What a client has taken


@pytest.fixture(params=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    if request.param == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            theirs = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
    with closing(ours), closing(theirs):
        ours.setblocking(False)
        yield ours, theirs


def fill(connection: socket.socket) -> None:
    while True:
        try:
            connection.send(bytes(1 << 16))
        except BlockingIOError:
            return


async def test_what_is_taken_shows(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    fill(ours)
    await asyncio.sleep(0.1)  # for what is under way
    fill(ours)
    await asyncio.sleep(0.1)
    before = taken(ours, 1000)
    assert taken(ours, 1000) == before
    theirs.setblocking(False)
    async with asyncio.timeout(DEADLINE):
        while taken(ours, 1000) == before:
            with suppress(BlockingIOError):
                theirs.recv(1 << 16)
            await asyncio.sleep(0.001)


async def test_a_connection_that_says_nothing_is_known_by_what_waits() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    assert taken(ours, 1000) == 1000
    assert taken(None, 1000) == 1000


# Under other servers


class Server:
    """Takes the first messages that it is sent, and not the next."""

    def __init__(self, takes: int) -> None:
        self.took: list[Message] = []
        self.takes = takes
        self.full = asyncio.Event()

    async def send(self, message: Message) -> None:
        if len(self.took) == self.takes:
            self.full.set()
            await asyncio.Event().wait()
        self.took.append(message)


class Sender(Blind):
    """Sends as the bridge of a site does."""

    def __init__(self, server: Callable[[Message], Awaitable[None]]) -> None:
        self.send_timeout = SHORT
        self.task = asyncio.current_task()
        self._server = server

    async def send(self, message: Message) -> None:
        try:
            self.sending = True
            await self._server(message)
            self.sent += 1
        except asyncio.CancelledError:
            self.cancelled()
            raise
        finally:
            self.sending = False


async def test_a_send_that_does_not_return_is_given_up() -> None:
    stalls, server = Stalls(asyncio.get_running_loop(), SHORT), Server(1)
    blind = Sender(server.send)
    stalls.add(blind)
    assert blind.mark() is None
    await blind.send({"type": "one"})
    assert blind.mark() is None
    with pytest.raises(StalledError):
        async with asyncio.timeout(DEADLINE):
            await blind.send({"type": "two"})
    assert blind.mark() is None
    blind.cut()  # nothing is under way
    stalls.discard(blind)


async def send_one(server: Server, made: list[Sender]) -> None:
    made.append(Sender(server.send))
    await made[0].send({"type": "one"})


async def test_a_cancelled_send_is_cancelled() -> None:
    server, made = Server(0), list[Sender]()
    task = asyncio.ensure_future(send_one(server, made))
    await server.full.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_a_send_that_is_given_up_and_cancelled_is_cancelled() -> None:
    server, made = Server(0), list[Sender]()
    task = asyncio.ensure_future(send_one(server, made))
    await server.full.wait()
    made[0].cut()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
