"""Clients that take nothing of their answers are cut off; slow ones and quiet streams are not."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final

import pytest

from ..neighbours.hostile import database_site, plain_site
from .clients import client_for
from .servers import PROTOCOL, Gateway
from .sites import BuiltSite
from .waiting import PATIENCE, until

pytestmark = pytest.mark.timed

LARGE: Final = 16 << 20
"""Bytes: more than a server and the sockets of this machine hold."""
PLACES: Final = 2
"""The requests of a site that run at the same time: as many as there are clients that stall."""

SERVERS: Final = {"ours": PROTOCOL, "httptools": ("--http", "httptools"), "h11": ("--http", "h11")}

_VIEWS: Final = """
import os, time
from pathlib import Path
from django.db import connection
from django.http import FileResponse, HttpResponse, StreamingHttpResponse

LARGE = Path(__file__).with_name("large")

def query():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")

def download(request):
    query()
    return FileResponse(LARGE.open("rb"))

def whole(request):
    return HttpResponse(LARGE.read_bytes())

def events(request):
    def told():
        query()
        yield b"first"
        while not Path(__file__).with_name("last").exists():
            time.sleep(0.1)
        yield b"last"
    return StreamingHttpResponse(told())
"""
_RAW: Final = f"""
def application(environ, start_response):
    write = start_response("200 OK", [])
    if environ["PATH_INFO"] == "/write":
        for _ in range({LARGE >> 16}):
            write(b"x" * 65536)
    return [b"a page"]
"""


def _site(folder: Path, send_timeout: float) -> BuiltSite:
    site = database_site(
        folder,
        "shop",
        _VIEWS,
        ("download", "whole", "events"),
        concurrency=PLACES,
        send_timeout=send_timeout,
    )
    with (site.folder / "core/large").open("wb") as file:
        file.truncate(LARGE)
    return site


def _raw_site(folder: Path, send_timeout: float) -> BuiltSite:
    site = plain_site(folder, "raw", concurrency=PLACES, send_timeout=send_timeout)
    (site.folder / "app.py").write_text(_RAW)
    return site


class Visitor:
    """A client whose system holds little for it, with one connection."""

    def __init__(self, gateway: Gateway, site: BuiltSite) -> None:
        self.host = site.host
        self.connection = socket.socket()
        self.connection.settimeout(PATIENCE)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.connection.connect(("127.0.0.1", gateway.port))

    def close(self) -> None:
        self.connection.close()

    def ask(self, path: str) -> None:
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())

    def rest(self) -> Iterator[bytes]:
        """What still comes, until the connection ends; it may be reset."""
        with suppress(ConnectionResetError):
            while piece := self.connection.recv(1 << 16):
                yield piece

    def until(self, end: bytes) -> bytes:
        """What comes up to these bytes; raises ``AssertionError`` if they do not come."""
        text = b""
        for piece in self.rest():
            text = (text if len(text) < LARGE else text[-len(end) :]) + piece
            if text.endswith(end):
                return text
        raise AssertionError(f"the connection ended without {end!r}, after {text[-80:]!r}")

    @property
    def is_held(self) -> bool:
        """Whether a process has the other end: to a socket without one belongs no inode."""
        ends = [self.connection.getpeername(), self.connection.getsockname()]
        numbers = [f":{port:04X}" for _, port in ends]
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        found = [line.split() for line in lines]
        return any(
            line[1].endswith(numbers[0]) and line[2].endswith(numbers[1]) and line[9] != "0"
            for line in found
        )

    def assert_cut(self, size: int = LARGE) -> None:
        """Read what has come, which has to end early."""
        assert sum(map(len, self.rest())) < size


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("path", ["/download", "/write"])
def test_a_client_that_takes_nothing_gives_its_place_back(
    tmp_path: Path, server: str, path: str
) -> None:
    site = (_raw_site if path == "/write" else _site)(tmp_path, 1)
    folder = tmp_path / "gateway"
    folder.mkdir()
    with Gateway(folder, {site.name: site.entry}, options=SERVERS[server]) as gateway:
        with ExitStack() as stack:
            visitors = [stack.enter_context(closing(Visitor(gateway, site))) for _ in range(PLACES)]
            for visitor in visitors:
                visitor.ask(path)
                assert visitor.connection.recv(12) == b"HTTP/1.1 200"
            with client_for(site.host, gateway.port) as client:
                assert client.get("/").status_code == 200
            for visitor in visitors:
                visitor.assert_cut()
        assert "Traceback" not in gateway.output


def test_an_answer_that_is_complete_does_not_wait_for_ever(tmp_path: Path) -> None:
    site = _site(tmp_path, 1)
    folder = tmp_path / "gateway"
    folder.mkdir()
    with (
        Gateway(folder, {site.name: site.entry}, options=PROTOCOL) as gateway,
        closing(Visitor(gateway, site)) as visitor,
    ):
        visitor.ask("/whole")
        assert visitor.connection.recv(12) == b"HTTP/1.1 200"
        until(lambda: not visitor.is_held, "the gateway has let go of the connection")
        visitor.assert_cut()


def test_a_slow_reader_and_a_quiet_stream_are_served_to_their_ends(tmp_path: Path) -> None:
    site = _site(tmp_path, 3)
    folder = tmp_path / "gateway"
    folder.mkdir()
    with (
        Gateway(folder, {site.name: site.entry}, options=PROTOCOL) as gateway,
        closing(Visitor(gateway, site)) as slow,
        closing(Visitor(gateway, site)) as quiet,
    ):
        quiet.ask("/events")
        quiet.until(b"first\r\n")
        slow.ask("/download")
        for _ in range(50):  # ten seconds, three times as long as it may take nothing
            assert slow.connection.recv(1024)
            time.sleep(0.2)
        received = sum(map(len, _body_of(slow)))
        assert received > LARGE - 50 * 1024 - 1024
        slow.ask("/")
        assert slow.connection.recv(12) == b"HTTP/1.1 200"
        (site.folder / "core/last").touch()
        quiet.until(b"last\r\n0\r\n\r\n")


def _body_of(visitor: Visitor) -> Iterator[bytes]:
    """The rest of a large answer with a length, on a connection that stays open."""
    visitor.connection.settimeout(2)
    with suppress(TimeoutError):
        yield from visitor.rest()
    visitor.connection.settimeout(PATIENCE)
