"""Numbers of any size in a request, under each of uvicorn's protocols: Python reads up to 4300
digits, and says so with a ``ValueError``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from .clients import converse
from .servers import Gateway
from .sites import BuiltSite, plain_site

PROTOCOLS: Final = {
    "ours": "gateway.protocol:Protocol",
    "httptools": "httptools",
    "h11": "h11",
}
ONES: Final = "1" * 5000
NOUGHTS: Final = "0" * 5000
NUMBERS: Final = {
    "limit": ("GET", f"/_history?limit={ONES}", ""),
    "limit of noughts": ("GET", f"/_history?limit={NOUGHTS}", ""),
    "wait": ("POST", f"/_sites/plain/pause?wait={ONES}", ""),
    "wait that is no number": ("POST", "/_sites/plain/pause?wait=nan", ""),
    "wait that is infinite": ("POST", "/_sites/plain/pause?wait=inf", ""),
    "length": ("POST", "/_reload", f"Content-Length: {ONES}\r\n"),
    "length of noughts": ("POST", "/_reload", f"Content-Length: {NOUGHTS}\r\n"),
    "host": ("GET", "/_health", f"Host: localhost:{ONES}\r\n"),
    "host with noughts": ("GET", "/_health", f"Host: localhost:{NOUGHTS}80\r\n"),
    "target": ("GET", f"http://localhost:{ONES}/_health", ""),
}
PASSED_OVER: Final = {
    "X-Forwarded-Port": f"X-Forwarded-Port: {ONES}\r\n",
    "X-Forwarded-For": f"X-Forwarded-For: 203.0.113.9:{ONES}\r\n",
    "Forwarded": f'Forwarded: for="203.0.113.9:{ONES}"\r\n',
    "X-Real-IP": f"X-Real-IP: {ONES}\r\n",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """What is served."""
    return plain_site(tmp_path_factory.mktemp("site"), "plain")


@pytest.fixture(scope="module", params=PROTOCOLS)
def gateway(
    request: pytest.FixtureRequest, site: BuiltSite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway under one of uvicorn's protocols."""
    folder = tmp_path_factory.mktemp("gateway")
    options = ("--http", PROTOCOLS[request.param])
    with Gateway(folder, {site.name: site.entry}, options=options) as running:
        yield running


def status_of(gateway: Gateway, method: str, target: str, lines: str) -> int:
    """What an operator is answered."""
    host = "" if "Host:" in lines else "Host: localhost\r\n"
    credentials = f"Authorization: Bearer {gateway.token}\r\n"
    head = f"{method} {target} HTTP/1.1\r\n{host}{lines}{credentials}Connection: close\r\n\r\n"
    return int(converse(gateway.port, head.encode()).split(b" ")[1])


@pytest.mark.parametrize(("method", "target", "lines"), NUMBERS.values(), ids=NUMBERS)
def test_a_number_that_cannot_be_read_is_refused(
    gateway: Gateway, method: str, target: str, lines: str
) -> None:
    before = len(gateway.output)
    assert status_of(gateway, method, target, lines) == 400
    assert "Traceback" not in gateway.output[before:]
    assert gateway.health()["sites"]["plain"]["mode"] == "open"


@pytest.mark.parametrize("lines", PASSED_OVER.values(), ids=PASSED_OVER)
def test_a_port_of_a_proxy_that_cannot_be_read_is_none(
    site: BuiltSite, tmp_path_factory: pytest.TempPathFactory, lines: str
) -> None:
    folder = tmp_path_factory.mktemp("gateway")
    options = ("--http", PROTOCOLS["ours"])
    proxy = {"GATEWAY_TRUSTED_PROXIES": "127.0.0.1"}
    with Gateway(folder, {site.name: site.entry}, proxy, options) as running:
        head = f"GET / HTTP/1.1\r\nHost: {site.host}\r\n{lines}Connection: close\r\n\r\n"
        assert b'"site": "plain"' in converse(running.port, head.encode())
        assert "Traceback" not in running.output
