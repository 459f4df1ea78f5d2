"""Where a request ends: over real connections, straight and through nginx and HAProxy."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any, Final

import pytest

from .servers import Gateway
from .services import haproxy, nginx
from .sites import BuiltSite, echo_site
from .waiting import PATIENCE, until

OURS: Final = "gateway.protocol:Protocol"
PROTOCOLS: Final = (OURS, "httptools", "h11")
BIG: Final = 500_000
"""Bytes of a body that no front sends on in one piece with its head."""
NGINX_UPGRADES: Final = """
proxy_http_version 1.1;
proxy_request_buffering off;
proxy_set_header Host $host;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection "upgrade";
"""
"""The lines that everybody has for WebSockets."""
HAPROXY_DENIES: Final = """
    acl denied hdr(x-role) -m found
    http-request deny if denied
    http-request del-header x-forwarded-for
    option http-buffer-request
"""
_ANSWER: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_JSON: Final = re.compile(rb"\{[^{}]*\{[^{}]*\}[^{}]*\}")


class Raw:
    """A client that sends what it likes."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.received = b""
        self.closed = False

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *segments: bytes) -> None:
        """Send the segments, each in a packet of its own; as many as the other side takes."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionResetError, BrokenPipeError):
            for segment in segments:
                self._socket.sendall(segment)
                if len(segments) > 1:
                    time.sleep(0.001)  # else the kernel may join them: not that it must not

    def read(self, answers: int) -> list[dict[str, Any]]:
        """Wait for so many answers of the site; or for the end."""
        while len(found := _JSON.findall(self.received)) < answers and self._more():
            pass
        return [json.loads(text) for text in found]

    def read_all(self) -> list[int]:
        """Wait for the end; the statuses of all answers."""
        while self._more():
            pass
        return [int(status) for status in _ANSWER.findall(self.received)]

    def _more(self) -> bool:
        try:
            part = self._socket.recv(65536)
        except ConnectionResetError:
            part = b""
        self.received += part
        self.closed = not part
        return bool(part)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> list[BuiltSite]:
    """One for everybody, and one that the front lets nobody reach."""
    folder = tmp_path_factory.mktemp("sites")
    return [echo_site(folder, "public"), echo_site(folder, "secret")]


@pytest.fixture(scope="module", params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def gateway(
    protocol: str, sites: list[BuiltSite], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    entries = {site.name: site.entry for site in sites}
    environ = {} if protocol == "httptools" else {"GATEWAY_TRUSTED_PROXIES": "127.0.0.1"}
    with Gateway(folder, entries, environ, ("--http", protocol)) as running:
        for site in sites:
            assert running.client(site.host).get("/").json()["site"] == site.name
        yield running


def request(
    *lines: str, method: str = "POST", target: str = "/", host: str = "public.localhost"
) -> bytes:
    """The head of a request."""
    return "\r\n".join((f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", "")).encode()


SMUGGLED: Final = request(method="GET", target="/smuggled", host="secret.localhost")
NEXT: Final = request(method="GET", target="/next")
CHUNKED: Final = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
OFFERS: Final = {
    "h2c": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    "websocket": ("Connection: keep-alive, Upgrade", "Upgrade: websocket"),
    "anything": ("Connection: upgrade", "Upgrade: foo/1, bar"),
}
BODIES: Final = {
    "length": (f"Content-Length: {len(SMUGGLED)}", SMUGGLED),
    "chunked": ("Transfer-Encoding: chunked", CHUNKED),
}


def in_segments(stream: bytes, how: str) -> list[bytes]:
    """The stream in one segment, cut behind the first head, or byte by byte."""
    match how:
        case "one":
            return [stream]
        case "two":
            end = stream.index(b"\r\n\r\n") + 4
            return [stream[:end], stream[end:]]
        case _:
            return [stream[place : place + 1] for place in range(len(stream))]


@pytest.mark.parametrize("segments", ["one", "two", "bytes"])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("offer", OFFERS)
def test_a_body_is_a_body_whatever_the_head_offers(
    gateway: Gateway, protocol: str, offer: str, body: str, segments: str
) -> None:
    framing, content = BODIES[body]
    stream = request(*OFFERS[offer], framing) + content + NEXT
    with Raw(gateway.port) as client:
        client.send(*in_segments(stream, segments))
        if protocol == "httptools":
            # It cannot be told there what the body is.
            assert client.read_all()[:1] == [400]
            assert b"secret" not in client.received and client.closed
            return
        first, second = client.read(2)
    assert (first["path"], first["size"], first["site"]) == ("/", len(SMUGGLED), "public")
    assert (second["path"], second["size"], second["site"]) == ("/next", 0, "public")
    if protocol == OURS:
        assert not {"upgrade", "http2-settings"} & first["headers"].keys()


@pytest.mark.parametrize("segments", ["one", "two", "bytes"])
@pytest.mark.parametrize("offer", OFFERS)
def test_the_request_behind_an_offer_is_answered(
    gateway: Gateway, protocol: str, offer: str, segments: str
) -> None:
    if protocol == "httptools":
        pytest.skip("uvicorn throws it away: docs/upstream.md")
    with Raw(gateway.port) as client:
        client.send(*in_segments(request(*OFFERS[offer], method="GET") + NEXT, segments))
        assert [answer["path"] for answer in client.read(2)] == ["/", "/next"]


def test_an_offer_without_a_body_is_answered(gateway: Gateway) -> None:
    for lines in (OFFERS["h2c"], (*OFFERS["h2c"], "Content-Length: 0")):
        with Raw(gateway.port) as client:
            client.send(request(*lines))
            assert client.read(1)[0]["method"] == "POST"


TRAILERS: Final = (
    b"0\r\nX-Forwarded-For: 192.0.2.66\r\nX-Forwarded-Proto: https\r\nX-Role: admin\r\n"
    b"Cookie: sessionid=stolen\r\nX-Forwarded-User: root\r\n\r\n"
)


@pytest.mark.parametrize("segments", ["one", "two", "bytes"])
def test_trailers_are_no_headers(gateway: Gateway, protocol: str, segments: str) -> None:
    if protocol == "httptools":
        pytest.skip("uvicorn adds them: docs/upstream.md")
    head = request("Transfer-Encoding: chunked")
    with Raw(gateway.port) as client:
        client.send(*in_segments(head + TRAILERS + NEXT, segments))
        answers = client.read(2)
    assert [answer["path"] for answer in answers] == ["/", "/next"]
    for answer in answers:
        assert answer["client"] == "127.0.0.1" and not answer["secure"]
        assert not {"x-role", "cookie", "x-forwarded-user"} & answer["headers"].keys()


@pytest.mark.parametrize("line", ["X-Long: " + "a" * 10_000_000, "X-Short: a\r\n" * 500_000])
def test_trailers_without_an_end_are_cut_off(gateway: Gateway, protocol: str, line: str) -> None:
    if protocol == "httptools":
        pytest.skip("uvicorn takes them all in: docs/upstream.md")
    with Raw(gateway.port) as client:
        client.send(request("Transfer-Encoding: chunked"), b"0\r\n")
        client.send(line.encode())
        assert client.read_all()[-1:] in ([], [400], [431])
        assert client.closed


@pytest.fixture(params=["nginx", "HAProxy"])
def front(request: pytest.FixtureRequest, gateway: Gateway) -> Iterator[int]:
    """A front that lets nobody reach the secret site, nor say ``X-Role``."""
    fronts: dict[str, Callable[[], AbstractContextManager[int]]] = {
        "nginx": lambda: nginx(
            gateway.port,
            NGINX_UPGRADES
            + "if ($host = secret.localhost) { return 403; } if ($http_x_role) { return 403; }",
        ),
        "HAProxy": lambda: haproxy(
            gateway.port,
            HAPROXY_DENIES + "    http-request deny if { hdr(host) -i secret.localhost }",
        ),
    }
    with fronts[request.param]() as port:
        yield port


def test_no_front_lets_a_request_hide_in_a_body(
    gateway: Gateway, protocol: str, front: int
) -> None:
    with Raw(front) as client:
        client.send(request("Connection: close", host="secret.localhost", method="GET"))
        assert client.read_all() == [403]
    body = SMUGGLED * (BIG // len(SMUGGLED))
    for lines in OFFERS.values():
        connection = http.client.HTTPConnection("127.0.0.1", front, timeout=PATIENCE)
        for _ in range(3):
            connection.putrequest("POST", "/", skip_host=True)
            connection.putheader("Host", "public.localhost")
            connection.putheader("Content-Length", str(len(body)))
            for line in lines:
                connection.putheader(*line.split(": ", 1))
            try:
                connection.endheaders(body)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                assert protocol == "httptools"  # it closes amid the body
                connection.close()
                continue
            assert b"secret" not in text
            if protocol == "httptools":
                assert answer.status in (200, 400, 502)
            else:
                assert answer.status == 200
                assert json.loads(text)["size"] == len(body)
        connection.close()
    assert "/smuggled" not in gateway.output


def test_no_front_lets_a_header_hide_in_a_trailer(
    gateway: Gateway, protocol: str, front: int
) -> None:
    if protocol == "httptools":
        pytest.skip("uvicorn adds them: docs/upstream.md")
    with Raw(front) as client:
        client.send(request("X-Role: admin", "Connection: close", method="GET"))
        assert client.read_all() == [403]
    with Raw(front) as client:
        client.send(request("Transfer-Encoding: chunked", "Connection: close") + TRAILERS)
        client.read_all()
        answers = client.read(1)
    for answer in answers:
        assert not {"x-role", "cookie", "x-forwarded-user"} & answer["headers"].keys()
        assert answer["client"] == "127.0.0.1" and not answer["secure"]


def test_the_answer_to_a_broken_request_comes_behind_the_one_that_runs(
    gateway: Gateway, protocol: str
) -> None:
    if protocol != OURS:
        pytest.skip("uvicorn writes it into the middle: docs/upstream.md")
    for broken in (b"BROKEN\r\n\r\n", request("Content-Length: x"), NEXT + b"\0"):
        with Raw(gateway.port) as client:
            client.send(request(method="GET", target="/stream") + broken)
            statuses = client.read_all()
        whole, last, rest = client.received.partition(b"\r\n0\r\n\r\n")
        assert last and b"HTTP/1.1 " not in whole[1:]
        assert statuses == ([200, 200, 400] if broken.startswith(NEXT) else [200, 400])
        assert rest.startswith(b"HTTP/1.1 ")


def test_a_broken_body_closes_the_connection(gateway: Gateway, protocol: str) -> None:
    head = request("Transfer-Encoding: chunked")
    with Raw(gateway.port) as client:
        client.send(head + b"3\r\nabc\r\nX\r\n" + NEXT)
        assert client.read_all()[:1] in ([400], [])
        assert client.closed and b"/next" not in client.received


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_client_that_leaves_behind_a_pipelined_request_ends_a_stream(
    sites: list[BuiltSite], tmp_path_factory: pytest.TempPathFactory, loop: str
) -> None:
    """uvloop raises when something is written to a client that is gone, asyncio does not."""
    entries = {site.name: site.entry for site in sites}
    closed = sites[0].folder / "closed"
    closed.unlink(missing_ok=True)
    folder = tmp_path_factory.mktemp(loop)
    with Gateway(folder, entries, options=("--http", OURS, "--loop", loop)) as gateway:
        with Raw(gateway.port) as client:
            client.send(request(method="GET", target="/endless") + NEXT)
            client._more()
        until(closed.exists, "the stream is over")


@pytest.mark.parametrize("target", ["http://public.localhost", "http://public.localhost?a=b"])
def test_an_absolute_target_without_a_path(gateway: Gateway, protocol: str, target: str) -> None:
    with Raw(gateway.port) as client:
        client.send(request("Connection: close", method="GET", target=target))
        if protocol == "httptools":
            assert client.read_all() == [400]  # uvicorn: docs/upstream.md
        else:
            path = client.read(1)[0]["path"]
            assert path == target.replace("http://public.localhost", "/")


def test_a_fragment_is_no_part_of_a_target(gateway: Gateway, protocol: str) -> None:
    with Raw(gateway.port) as client:
        client.send(request("Connection: close", method="GET", target="/admin#/public"))
        assert client.read_all() == [200 if protocol == "httptools" else 400]


def test_trusted_proxies_need_a_server_that_drops_trailers(
    sites: list[BuiltSite], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("refused")
    entries = {site.name: site.entry for site in sites}
    refused = Gateway(folder, entries, {"GATEWAY_TRUSTED_PROXIES": "127.0.0.1"})
    with ExitStack() as stack, pytest.raises(AssertionError, match="ended with 3"):
        stack.enter_context(refused)
    assert "--http gateway.protocol:Protocol" in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.parametrize("trailer", ["Connection: close", "Connection: upgrade\r\nUpgrade: h2c"])
def test_no_trailer_swallows_the_next_request(
    gateway: Gateway, protocol: str, trailer: str
) -> None:
    """It is answered, or the answer before says that it will not be."""
    if protocol == "httptools":
        pytest.skip("uvicorn adds them: docs/upstream.md")
    head = request("Transfer-Encoding: chunked")
    with Raw(gateway.port) as client:
        client.send(head + f"3\r\nabc\r\n0\r\n{trailer}\r\n\r\n".encode() + NEXT)
        answers = client.read(2)
        assert len(answers) == 2 or b"connection: close\r\n" in client.received
        assert len(answers) == 2 or client.closed


def test_an_answer_before_the_end_of_its_request_is_the_last(
    gateway: Gateway, protocol: str
) -> None:
    if protocol != OURS:
        pytest.skip("uvicorn answers a second time: docs/upstream.md")
    rest = b"3\r\nabc\r\n0\r\nContent-Length: 1\r\n\r\n" + NEXT
    for head in (request("Transfer-Encoding: chunked", host="nobody.test"),):
        with Raw(gateway.port) as client:
            client.send(head)
            while b"\r\n\r\n" not in client.received:
                client._more()
            assert b"connection: close\r\n" in client.received.lower()
            client.send(rest)
            assert client.read_all() == [404]


def test_a_client_that_does_not_end_its_request_is_let_go(gateway: Gateway, protocol: str) -> None:
    if protocol != OURS:
        pytest.skip("uvicorn waits for ever: docs/upstream.md")
    with Raw(gateway.port) as client:
        client.send(request("Content-Length: 1000", host="nobody.test"))
        while b"\r\n\r\n" not in client.received:
            client._more()
        client.send(b"a")
        assert client.read_all() == [404]


def test_a_client_of_http_1_0_gets_no_chunks_and_no_100(gateway: Gateway, protocol: str) -> None:
    if protocol == "httptools":
        pytest.skip("uvicorn sends both: docs/upstream.md")
    with Raw(gateway.port) as client:
        client.send(b"GET /stream HTTP/1.0\r\nHost: public.localhost\r\n\r\n")
        assert client.read_all() == [200]
    head, _, body = client.received.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body.startswith(b"and so on\n") and len(body) == 512 * 6554 * len(b"and so on\n")
    with Raw(gateway.port) as client:
        head = request("Content-Length: 3", "Expect: 100-continue").replace(b"/1.1", b"/1.0", 1)
        client.send(head + b"abc")
        assert client.read_all() == [200]
