"""Clients that send the head of a request slowly, or without an end, or that send a wrong one."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gateway.protocol import NOT_SENT

from .programs import find_program, run
from .servers import Gateway
from .sites import BuiltSite, echo_site
from .waiting import PATIENCE

pytestmark = pytest.mark.timed

PROTOCOL: Final = ("--http", "gateway.protocol:Protocol")
HEAD_TIMEOUT: Final = 2.0
SLOW: Final = 1000
_FILES: Final = 2 * SLOW + 200
"""Open files that the slow clients and the gateway need; see getrlimit(2)."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """What is to be served meanwhile."""
    return echo_site(tmp_path_factory.mktemp("site"), "echo")


@pytest.fixture(scope="module")
def gateway(site: BuiltSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With our protocol, and little patience."""
    _allow_files()
    environ = {"GATEWAY_HEAD_TIMEOUT": str(HEAD_TIMEOUT)}
    folder = tmp_path_factory.mktemp("gateway")
    # Longer than any test waits: whatever closes a connection here is the deadline.
    options = (*PROTOCOL, "--timeout-keep-alive", "600")
    with Gateway(folder, {site.name: site.entry}, environ, options) as running:
        assert running.client(site.host).get("/").json()["site"] == "echo"
        yield running


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, hard), hard))


def connect(gateway: Gateway) -> socket.socket:
    """A connection that gives up in the end."""
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the gateway closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        # Closed while there was more to read than the gateway wanted to.
        pass
    return b"".join(parts)


def read_answer(connection: socket.socket) -> bytes:
    """One answer; its body ends in a brace."""
    answer = b""
    while not answer.endswith(b"}"):
        part = connection.recv(65536)
        assert part, f"closed after {answer!r}"
        answer += part
    return answer


async def _trickle(port: int, size: int) -> tuple[bytes, int]:
    """Send a head byte by byte; returns the answer, and how many bytes were sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.ensure_future(reader.read())
    sent = 0
    head = b"GET / HTTP/1.1\r\nHost: echo.localhost\r\nX-Slow: " + b"a" * size
    while not answer.done() and sent < len(head):
        writer.write(head[sent : sent + 1])
        sent += 1
        await asyncio.wait({answer}, timeout=0.2)
    try:
        return await answer, sent
    except ConnectionResetError:
        # A byte that was on its way when the gateway closed, and the answer is lost.
        return b"", sent
    finally:
        writer.close()


def test_a_thousand_clients_that_trickle_their_heads_are_cut_off(
    gateway: Gateway, site: BuiltSite
) -> None:
    async def crowd() -> list[tuple[bytes, int]]:
        clients = [asyncio.ensure_future(_trickle(gateway.port, 10_000)) for _ in range(SLOW)]
        # Others are served while they are there.
        answers = [
            await asyncio.to_thread(lambda: gateway.client(site.host).get("/").status_code)
            for _ in range(5)
        ]
        assert answers == [200] * 5
        return await asyncio.gather(*clients)

    answers = asyncio.run(asyncio.wait_for(crowd(), 5 * PATIENCE))
    lines = {answer.split(b"\r\n")[0] for answer, _ in answers} - {b""}
    assert lines == {b"HTTP/1.1 408 Request Timeout"}
    assert max(sent for _, sent in answers) < 1000
    assert gateway.client(site.host).get("/").status_code == 200


def test_a_client_that_says_nothing_is_cut_off(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        assert read_all(connection) == b""


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost:", b"\r\n", b"G"])
def test_the_deadline_counts_for_later_heads_too(gateway: Gateway, start: bytes) -> None:
    with connect(gateway) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: echo.localhost\r\n\r\n")
        assert b'"site": "echo"' in read_answer(connection)
        connection.sendall(start)
        rest = read_all(connection)
    assert rest == b"" or rest.startswith(b"HTTP/1.1 408 ")


def test_the_deadline_does_not_count_between_requests_nor_for_bodies(gateway: Gateway) -> None:
    head = b"POST / HTTP/1.1\r\nHost: echo.localhost\r\nContent-Length: 3\r\n\r\n"
    with connect(gateway) as connection:
        for _ in range(2):
            connection.sendall(head)
            for byte in (b"a", b"b", b"c"):
                # The deadline passes meanwhile: it must not be what ends the connection.
                time.sleep(HEAD_TIMEOUT / 2)
                connection.sendall(byte)
            assert b'"size": 3' in read_answer(connection)
            time.sleep(HEAD_TIMEOUT * 1.5)


def test_a_head_without_an_end_is_refused(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: echo.localhost\r\nX-Long: ")
        try:
            for _ in range(100):
                connection.sendall(b"a" * 65536)
        except OSError:
            pass
        else:
            pytest.fail("a head of 6 MB was taken in")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET http://other.localhost/ HTTP/1.1\r\nHost: echo.localhost\r\n", b"400"),
        ("GET http://echo.localhost/ HTTP/1.1\r\nHost: other.localhost\r\n", b"400"),
        ("GET ftp://echo.localhost/ HTTP/1.1\r\nHost: echo.localhost\r\n", b"400"),
        ("GET http://ECHO.localhost:80/x?y HTTP/1.1\r\nHost: echo.localhost\r\n", b"200"),
        ("GET / HTTP/1.1\r\nHost: echo.localhost\r\nHost: echo.localhost\r\n", b"400"),
        (
            "POST / HTTP/1.1\r\nHost: echo.localhost\r\nContent-Length: 5\r\n"
            "Transfer-Encoding: chunked\r\n",
            b"400",
        ),
        ("GET / HTTP/1.1\r\nHost: echo.localhost\r\n" + "A: 1\r\n" * 100, b"431"),
        ("GET / HTTP/1.1\r\nHost: echo.localhost\r\nA: " + "1" * 32768 + "\r\n", b"431"),
        (f"GET /{'a' * 16384} HTTP/1.1\r\nHost: echo.localhost\r\n", b"414"),
        ("GET / HTTP/1.1\r\nHost: echo.localhost\r\nA: 1\x002\r\n", b"400"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_heads_that_are_refused(gateway: Gateway, head: str, status: bytes) -> None:
    with connect(gateway) as connection:
        connection.sendall(f"{head}Connection: close\r\n\r\n0\r\n\r\n".encode("latin-1"))
        assert read_all(connection).split(b" ")[1] == status


@pytest.mark.parametrize("more", [b"\0\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"a" * 40_000])
def test_no_answer_lands_in_the_middle_of_another(gateway: Gateway, more: bytes) -> None:
    with connect(gateway) as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: echo.localhost\r\n\r\n")
        begin = connection.recv(100)
        connection.sendall(more)
        answer = begin + read_all(connection)
    # It comes after the other, which is whole: a last chunk, and then a second answer.
    first, last, second = answer.partition(b"\r\n0\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ") and last
    assert b"HTTP/1.1 " not in first[1:]
    assert second.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
    assert second.count(b"HTTP/1.1 ") == 1


def test_the_site_sees_no_header_that_could_mislead_it(gateway: Gateway, site: BuiltSite) -> None:
    headers = {"X_Under": "1", "Proxy": "http://evil.example", "X-Kept": "1"}
    seen = gateway.client(site.host, headers).get("/").json()["headers"]
    assert seen["x-kept"] == "1"
    assert not {"x-under", "proxy"} & set(seen)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/net/tcp tells what waits")
def test_a_client_that_does_not_read_fills_no_buffer_of_the_system(gateway: Gateway) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", gateway.port))
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: echo.localhost\r\n\r\n")
        waiting = -1
        while waiting != (waiting := _unsent(connection)) or not waiting:
            time.sleep(0.3)
        assert waiting < 3 * NOT_SENT


def _unsent(connection: socket.socket) -> int:
    """Bytes that wait at the other end, in the gateway's socket: see proc_net_tcp.rst of Linux."""
    ours, theirs = connection.getsockname()[1], connection.getpeername()[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if (int(local[-4:], 16), int(remote[-4:], 16)) == (theirs, ours):
            return int(queues.partition(":")[0], 16)
    raise AssertionError("the gateway has closed the connection")


def test_slowhttptest_finds_the_gateway_available(
    gateway: Gateway, site: BuiltSite, tmp_path: Path
) -> None:
    """Its "slow headers", also known as Slowloris, with a follow-up for each second."""
    program = find_program("slowhttptest", "slowhttptest")
    address = f"127.0.0.1:{gateway.port}"
    # By way of an HTTP proxy, so to speak: only then does it not look the site's name up. "-e" is
    # the proxy of its probes, which "-d" does not set, and has to come first.
    target = ["-e", address, "-d", address, "-u", f"http://{site.host}/"]
    pace = ["-c", str(SLOW), "-r", str(SLOW), "-i", "1", "-l", str(int(PATIENCE))]
    output = run([program, "-H", *pace, *target], folder=tmp_path)
    words = re.sub(r"\x1b\[[0-9;]*m", "", output).split("slow HTTP test status on")
    assert "No open connections left" in words[-1], output
    assert [re.findall(r"service available:\s+(\w+)", word) for word in words[1:]] == [
        ["YES"] for _ in words[1:]
    ], output
