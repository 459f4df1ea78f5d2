"""The gateway under servers other than uvicorn, unchanged."""

from __future__ import annotations

import hashlib
import socket
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from .cache import virtual_environment
from .clients import client_for, raw_request
from .programs import free_port, listens
from .servers import REPOSITORY, Gateway
from .sites import BuiltSite, echo_site
from .waiting import until

pytestmark = pytest.mark.timed

_GUNICORN: Final = "gunicorn --no-control-socket --bind 127.0.0.1:{port} --worker-class"
SERVERS: Final = {
    "granian": "granian --interface asgi --host 127.0.0.1 --port {port}",
    "hypercorn": "hypercorn --bind 127.0.0.1:{port}",
    "gunicorn, its own worker": f"{_GUNICORN} asgi",
    "gunicorn, uvicorn's": f"{_GUNICORN} uvicorn_worker.UvicornWorker",
}
REQUIREMENTS: Final = ("granian~=2.8", "hypercorn~=0.18", "gunicorn~=27.0", "uvicorn-worker~=0.4")


class OtherServer(Gateway):
    """The gateway under the command line of a server that cannot say which port it took."""

    good_ends = frozenset({0})

    def __init__(self, folder: Path, sites: Sequence[BuiltSite], options: str) -> None:
        super().__init__(folder, {site.name: site.entry for site in sites})
        self.port = free_port()
        # Not a script of the environment: those name the folder that it was made in.
        python = _environment() / "bin" / "python"
        arguments = options.format(port=self.port).split()
        self.command = [str(python), "-m", *arguments, "gateway.main:app"]

    def _is_ready(self) -> bool:
        if not listens(self.port):
            return False
        with client_for("localhost", self.port) as client:
            return client.get("/_health").status_code == 200


def _environment() -> Path:
    """What the gateway needs and the servers, beside neither tests nor samples."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    return virtual_environment([*project["dependencies"], *REQUIREMENTS])


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> tuple[BuiltSite, BuiltSite]:
    """Two of them."""
    folder = tmp_path_factory.mktemp("sites")
    return echo_site(folder, "one"), echo_site(folder, "two")


@pytest.fixture(scope="module", params=SERVERS.values(), ids=SERVERS)
def server(
    request: pytest.FixtureRequest,
    sites: tuple[BuiltSite, BuiltSite],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OtherServer]:
    """One that serves both sites; that it ends when it is told to is a part of the test."""
    with OtherServer(tmp_path_factory.mktemp("server"), sites, request.param) as running:
        yield running


def test_two_sites(server: OtherServer, sites: tuple[BuiltSite, BuiltSite]) -> None:
    for site in sites:
        seen = server.client(site.host).get("/a%2Fb?c=%20").json()
        assert seen["site"] == site.name
        assert seen["host"] == site.host
        assert seen["client"] == "127.0.0.1"


def test_what_a_site_must_not_see(server: OtherServer, sites: tuple[BuiltSite, BuiltSite]) -> None:
    headers = {"X_Under": "1", "Proxy": "1", "X-Forwarded-Host": "two.localhost", "X-Kept": "1"}
    seen = server.client(sites[0].host, headers).get("/").json()
    assert seen["site"] == "one"
    assert seen["headers"]["x-kept"] == "1"
    assert len(seen["headers"]["x-request-id"]) == 16
    assert not {"x-under", "proxy", "x-forwarded-host"} & set(seen["headers"])


@pytest.mark.parametrize(
    "lines",
    ["Host: one.localhost\nHost: two.localhost\n", "", "Host: one.localhost\nA: 1\0002\n"],
    ids=["two hosts", "no host", "a control character"],
)
def test_what_is_refused(server: OtherServer, lines: str) -> None:
    answer = raw_request(server.port, f"GET / HTTP/1.1\n{lines}Connection: close\n\n")
    # A server may refuse it by itself, and not every one says why.
    assert not answer or answer.split()[1] == "400"


def test_an_upload(server: OtherServer, sites: tuple[BuiltSite, BuiltSite]) -> None:
    body = bytes(range(256)) * 12_000
    seen = server.client(sites[1].host).post("/", content=body).json()
    assert (seen["size"], seen["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


def test_a_client_that_leaves_an_upload(
    server: OtherServer, sites: tuple[BuiltSite, BuiltSite]
) -> None:
    head = f"POST / HTTP/1.1\r\nHost: {sites[0].host}\r\nContent-Length: 1000\r\n\r\nhalf"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode())
    assert server.client(sites[0].host).get("/").json()["site"] == "one"


def test_a_stream(server: OtherServer, sites: tuple[BuiltSite, BuiltSite]) -> None:
    with server.client(sites[0].host).stream("GET", "/stream") as answer:
        assert sum(map(len, answer.iter_raw())) == 512 * 65_540


def test_a_client_that_leaves_a_stream(
    server: OtherServer, sites: tuple[BuiltSite, BuiltSite]
) -> None:
    closed = sites[1].folder / "closed"
    closed.unlink(missing_ok=True)
    # A client of its own: leaving means that its connection is closed.
    with (
        client_for(sites[1].host, server.port) as client,
        client.stream("GET", "/endless") as answer,
    ):
        pieces = answer.iter_raw()
        next(pieces)
        assert not closed.exists()
        del pieces  # who lets go of it closes the connection, whatever follows
    until(closed.exists, "the stream is closed")
    assert server.client(sites[1].host).get("/").json()["site"] == "two"
