"""Clients that hold a connection and do nothing with it; memory is PSS, as in ``memory.py``.

Half uploads and unread streams on one site, while that site and another are asked all the time;
then connections that send their headers a byte at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.request_path import servers
from bench.request_path.peers import Peer
from bench.request_path.servers import Server
from bench.samples import megabytes

_UPLOAD: Final = 1_000_000
_CHUNKS: Final = 2_000
_BATCH: Final = 50
"""Connections that are opened at the same time; more would only fill the server's backlog."""
_PATIENCE: Final = 30.0
"""Seconds for an answer to a probe, and for the streams to be closed."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--clients", type=int, default=500, help="of each kind")
    parser.add_argument("--trickling", type=int, default=1000, help="connections")
    parser.add_argument("--seconds", type=float, default=10, help="how long they are held")
    parser.add_argument(
        "--deadline", type=float, default=45, help="seconds until trickled headers count as kept"
    )


def main(chosen: Sequence[Peer], options: argparse.Namespace) -> None:
    """Run against each server in turn."""
    print("| server | clients | answers | slowest s | MB before | MB at most | afterwards |")
    print("|---|---|---|---|---|---|---|")
    for peer, measure in itertools.product(chosen, (_hold, _trickle)):
        with servers.running([peer], 2) as running:
            for server in running:
                asyncio.run(measure(server, options))


async def _hold(server: Server, options: argparse.Namespace) -> None:
    held, kinds = options.clients, f"{options.clients} half uploads, {options.clients} streams"
    async with _Probes(server) as probes:
        uploads = await _open_all(server, held, _half_upload(server.hosts[0]), small_buffer=False)
        streams = await _open_all(server, held, _request(server.hosts[0]), small_buffer=True)
        await asyncio.sleep(options.seconds)
    _close_all([*uploads, *streams])
    _report(server, kinds, probes, await _streams_closed(server))


async def _trickle(server: Server, options: argparse.Namespace) -> None:
    async with _Probes(server) as probes:
        closed = await _send_slowly(server, options.trickling, options.deadline)
    _report(server, f"{options.trickling} trickling", probes, closed)


def _report(server: Server, clients: str, probes: _Probes, afterwards: str) -> None:
    statuses = ", ".join(f"{count} of {status or 'none'}" for status, count in probes.statuses())
    print(
        f"| {server.peer.name} | {clients} | {statuses} | {probes.slowest:.2f} "
        f"| {probes.before:.0f} | {probes.at_most:.0f} | {afterwards} |",
        flush=True,
    )


@dataclass
class _Probes:
    """Asks both sites all the time while its block runs."""

    server: Server
    seen: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    before: float = 0.0
    at_most: float = 0.0

    async def __aenter__(self) -> _Probes:
        self.before = self.at_most = megabytes(*self.server.processes())
        self._tasks = [asyncio.create_task(self._ask(host)) for host in self.server.hosts]
        self._stop = asyncio.Event()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    def statuses(self) -> list[tuple[int, int]]:
        return self.seen.most_common()

    async def _ask(self, host: str) -> None:
        for path in itertools.cycle(("/tiny/", "/orm/")):
            started = time.perf_counter()
            status, _ = await asyncio.to_thread(self.server.get, host, path, _PATIENCE)
            self.slowest = max(self.slowest, time.perf_counter() - started)
            self.seen[status] += 1
            self.at_most = max(self.at_most, megabytes(*self.server.processes()))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.1)
            if self._stop.is_set():
                return


def _half_upload(host: str) -> bytes:
    head = f"POST /upload/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: {_UPLOAD}\r\n\r\n"
    return head.encode() + b"x" * (_UPLOAD // 2)


def _request(host: str) -> bytes:
    return f"GET /stream/{_CHUNKS}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


async def _open_all(
    server: Server, count: int, request: bytes, *, small_buffer: bool
) -> list[socket.socket]:
    """Connections that have sent ``request``, as far as the server takes it, and read nothing."""
    loop = asyncio.get_running_loop()

    async def open_one() -> socket.socket:
        connection = socket.socket()
        connection.setblocking(False)
        if small_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(2):
                await loop.sock_connect(connection, ("127.0.0.1", server.port))
                await loop.sock_sendall(connection, request)
        return connection

    opened: list[socket.socket] = []
    for batch in _batches(count):
        opened += await asyncio.gather(*(open_one() for _ in range(batch)))
    return opened


def _batches(count: int) -> Iterator[int]:
    for start in range(0, count, _BATCH):
        yield min(_BATCH, count - start)


def _close_all(connections: Sequence[socket.socket]) -> None:
    for connection in connections:
        connection.close()


async def _streams_closed(server: Server) -> str:
    """Wait until every stream of the first site is closed; says how it went."""
    started = time.perf_counter()
    counts: dict[str, int] | None = None
    while time.perf_counter() - started < _PATIENCE:
        status, body = await asyncio.to_thread(server.get, server.hosts[0], "/counts/", _PATIENCE)
        if status == 200:
            counts = json.loads(body)
            if counts["closed"] == counts["opened"]:
                break
        await asyncio.sleep(0.1)
    waited = time.perf_counter() - started
    if counts is None:
        return f"nothing answers for {waited:.0f} s"
    text = f"{counts['closed']} of {counts['opened']} streams closed after {waited:.1f} s"
    return f"{text}, {counts['uploads']} uploads seen as complete"


async def _send_slowly(server: Server, count: int, deadline: float) -> str:
    """Send a byte of a header a second on each connection; says how many the server has closed."""
    opened = await _open_all(
        server, count, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", small_buffer=False
    )
    started = time.perf_counter()
    left, last = opened, 0.0
    while left and time.perf_counter() - started < deadline:
        await asyncio.sleep(1)
        still = [connection for connection in left if _takes_a_byte(connection)]
        if len(still) < len(left):
            last = time.perf_counter() - started
        left = still
    _close_all(opened)
    return f"{count - len(left)} of {count} closed, the last after {last:.0f} s"


def _takes_a_byte(connection: socket.socket) -> bool:
    """Send one, and say whether the connection is still open."""
    try:
        connection.send(b"x")
        return connection.recv(4096) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
