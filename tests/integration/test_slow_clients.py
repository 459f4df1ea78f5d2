"""Clients that are slow to send or to read hold up nobody, and those that leave leave nothing."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import httpx
import pytest

from .clients import client_for
from .servers import Gateway
from .sites import BuiltSite, echo_site
from .waiting import until

pytestmark = pytest.mark.timed

MANY: Final = 200
ENOUGH: Final = httpx.Timeout(30)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> tuple[BuiltSite, BuiltSite]:
    folder = tmp_path_factory.mktemp("sites")
    return echo_site(folder, "one"), echo_site(folder, "two")


@pytest.fixture
def gateway(sites: tuple[BuiltSite, BuiltSite], tmp_path: Path) -> Iterator[Gateway]:
    entries = {site.name: site.entry for site in sites}
    with Gateway(tmp_path, entries, options=["--http", "gateway.protocol:Protocol"]) as gateway:
        for site in sites:
            assert gateway.client(site.host).get("/").status_code == 200
        yield gateway


def send(gateway: Gateway, site: BuiltSite, rest: str, stack: ExitStack) -> socket.socket:
    """A connection that has sent a request, or a part of one."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
    method = "POST" if "Content-Length" in rest else "GET"
    path, _, headers = rest.partition("\n")
    head = f"{method} {path} HTTP/1.1\nHost: {site.host}\n{headers}"
    connection.sendall(head.replace("\n", "\r\n").encode())
    return connection


def test_slow_clients_hold_up_nobody(gateway: Gateway, sites: tuple[BuiltSite, BuiltSite]) -> None:
    crowded, other = sites
    closed = crowded.folder / "closed"
    closed.unlink(missing_ok=True)
    with ExitStack() as stack:
        for _ in range(MANY):
            send(gateway, crowded, "/\nContent-Length: 1000\n\nhalf", stack)
        streams = [send(gateway, crowded, "/endless\n\n", stack) for _ in range(MANY)]
        for stream in streams:
            stream.settimeout(ENOUGH.read)
            assert stream.recv(12) == b"HTTP/1.1 200"
        for site in sites:
            with client_for(site.host, gateway.port) as client:
                answer = client.get("/", timeout=ENOUGH)
                assert (answer.status_code, answer.json()["site"]) == (200, site.name)
        assert not closed.exists()
    until(lambda: closed.read_text().count("closed") == MANY if closed.exists() else 0, "all close")
    with client_for(other.host, gateway.port) as client:
        assert client.get("/").status_code == 200


def test_a_large_body_comes_in_and_expect_is_answered(
    gateway: Gateway, sites: tuple[BuiltSite, BuiltSite]
) -> None:
    body = bytes(range(256)) * 20_000  # above what is kept in memory
    with ExitStack() as stack:
        rest = f"/\nContent-Length: {len(body)}\nExpect: 100-continue\nConnection: close\n\n"
        connection = send(gateway, sites[0], rest, stack)
        connection.settimeout(ENOUGH.read)
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert hashlib.sha256(body).hexdigest().encode() in answer


def test_a_body_over_the_limit_is_not_read(
    gateway: Gateway, sites: tuple[BuiltSite, BuiltSite]
) -> None:
    with ExitStack() as stack:
        connection = send(gateway, sites[0], f"/\nContent-Length: {101 << 20}\n\n", stack)
        connection.settimeout(ENOUGH.read)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("options", [(), ("--http", "gateway.protocol:Protocol")])
def test_a_body_that_does_not_come_is_given_up(
    sites: tuple[BuiltSite, BuiltSite], tmp_path: Path, options: tuple[str, ...]
) -> None:
    patient, other = sites
    entries = {
        patient.name: {**patient.entry, "limits": {"body_timeout": 1}},
        other.name: other.entry,
    }
    with Gateway(tmp_path, entries, options=options) as gateway, ExitStack() as stack:
        uploads = [
            send(gateway, patient, "/\nContent-Length: 1000\n\nhalf", stack) for _ in range(50)
        ]
        for site in sites:
            assert gateway.client(site.host).get("/", timeout=ENOUGH).status_code == 200
        for upload in uploads:
            upload.settimeout(ENOUGH.read)
            answer = b"".join(iter(lambda upload=upload: upload.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 408")
