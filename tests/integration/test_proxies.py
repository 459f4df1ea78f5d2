"""Whom a request is from: through the real command line, straight and behind a real nginx."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from .servers import REPOSITORY, Gateway
from .services import nginx
from .sites import BuiltSite, echo_site

CLIENT: Final = "127.0.0.2"
"""Another address of this machine than the one that nginx comes from."""
FORGED: Final = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "444",
    "X-Real-IP": "203.0.113.9",
    "X-Request-ID": "forged",
}
PROTOCOL: Final = ("--http", "gateway.protocol:Protocol")
TRUSTED: Final = {"GATEWAY_TRUSTED_PROXIES": "127.0.0.1"}
FORWARDING: Final = {name.lower() for name in FORGED} - {"x-request-id"}


def documented_headers() -> str:
    """What the documentation tells administrators to write."""
    text = (REPOSITORY / "docs" / "http.md").read_text(encoding="utf-8")
    block = re.search(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert block
    return block[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """It has ``SECURE_PROXY_SSL_HEADER`` and the like set."""
    return echo_site(tmp_path_factory.mktemp("site"), "echo")


class Door:
    """A way to a gateway: its own port, or that of an nginx before it."""

    def __init__(self, port: int, site: BuiltSite) -> None:
        self._port = port
        self._site = site

    def ask(self, headers: dict[str, str], host: str | None = None) -> tuple[int, Any]:
        """The status and the answer."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=60, source_address=(CLIENT, 0)
        )
        try:
            connection.request("GET", "/", headers={"Host": host or self._site.host, **headers})
            answer = connection.getresponse()
            body = answer.read()
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, json.loads(body) if is_json else body
        finally:
            connection.close()


class Gateways:
    """Starts gateways, each once: with options of uvicorn and settings."""

    def __init__(self, folder: Path, site: BuiltSite, stack: ExitStack) -> None:
        self._folder = folder
        self._site = site
        self._stack = stack
        self._running: dict[str, Gateway] = {}

    def door(self, *options: str, behind: str | None = None, **environ: str) -> Door:
        """The way to one, ``behind`` an nginx that has these lines."""
        key = repr((options, sorted(environ.items())))
        if key not in self._running:
            folder = self._folder / str(len(self._running))
            folder.mkdir()
            gateway = Gateway(folder, {self._site.name: self._site.entry}, environ, options)
            self._running[key] = self._stack.enter_context(gateway)
        port = self._running[key].port
        if behind is not None:
            port = self._stack.enter_context(nginx(port, behind))
        return Door(port, self._site)


@pytest.fixture(scope="module")
def gateways(site: BuiltSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    """Those that the tests of this file ask for."""
    with ExitStack() as stack:
        yield Gateways(tmp_path_factory.mktemp("gateways"), site, stack)


H11: Final = ("--http", "h11")
"""The protocol of uvicorn's own that may be used with trusted proxies."""
WITHOUT_UVICORNS_OWN: Final = {
    "our protocol": PROTOCOL,
    "uvicorn's": (*H11, "--no-proxy-headers"),
}


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        (PROTOCOL, {}),
        (PROTOCOL, TRUSTED),
        ((*H11, "--no-proxy-headers"), {}),
        ((*H11, "--no-proxy-headers"), TRUSTED),
        (("--no-proxy-headers",), {}),
    ],
    ids=["ours, nobody", "ours, another", "h11, nobody", "h11, another", "httptools, nobody"],
)
def test_what_a_stranger_says_does_not_count(
    gateways: Gateways, options: tuple[str, ...], environ: dict[str, str]
) -> None:
    status, seen = gateways.door(*options, **environ).ask(FORGED)
    assert status == 200
    assert (seen["client"], seen["secure"], seen["host"]) == (CLIENT, False, "echo.localhost")
    assert not FORWARDING & set(seen["headers"])
    assert seen["headers"]["x-request-id"] != "forged"


@pytest.mark.parametrize("options", WITHOUT_UVICORNS_OWN.values(), ids=WITHOUT_UVICORNS_OWN)
def test_what_a_stranger_says_does_not_count_through_nginx(
    gateways: Gateways, options: tuple[str, ...]
) -> None:
    door = gateways.door(*options, behind=documented_headers(), **TRUSTED)
    status, seen = door.ask(FORGED)
    assert status == 200
    assert (seen["client"], seen["secure"], seen["host"]) == (CLIENT, False, "echo.localhost")
    assert seen["headers"]["x-forwarded-for"] == CLIENT
    assert seen["headers"]["x-forwarded-proto"] == "http"
    assert re.fullmatch("[0-9a-f]{32}", seen["headers"]["x-request-id"])


@pytest.mark.parametrize("options", WITHOUT_UVICORNS_OWN.values(), ids=WITHOUT_UVICORNS_OWN)
def test_what_nginx_says_counts(gateways: Gateways, options: tuple[str, ...]) -> None:
    lines = (
        "proxy_set_header Host inner; proxy_set_header X-Forwarded-Host $host:8443;"
        "proxy_set_header X-Forwarded-Proto https; proxy_set_header X-Forwarded-For $remote_addr;"
    )
    environ = {**TRUSTED, "GATEWAY_TRUST_FORWARDED_HOST": "1"}
    _, seen = gateways.door(*options, behind=lines, **environ).ask({})
    assert (seen["client"], seen["secure"]) == (CLIENT, True)
    assert (seen["host"], seen["port"]) == ("echo.localhost:8443", "8443")


def test_uvicorns_own_proxy_headers_have_no_effect_on_our_protocol(gateways: Gateways) -> None:
    lines = "proxy_set_header Host $host; proxy_set_header X-Forwarded-For 203.0.113.9;"
    # The peer is in uvicorn's --forwarded-allow-ips: 127.0.0.1 without it.
    _, seen = gateways.door(*PROTOCOL, behind=lines).ask({"X-Forwarded-Proto": "https"})
    assert (seen["client"], seen["secure"]) == ("127.0.0.1", False)


def test_uvicorns_own_proxy_headers_stand_with_its_own_protocol(gateways: Gateways) -> None:
    """What the documentation warns of: the first proxy believed is uvicorn's, not ours."""
    lines = "proxy_set_header Host $host; proxy_set_header X-Forwarded-For 203.0.113.9;"
    _, seen = gateways.door(*H11, behind=lines, **TRUSTED).ask({"X-Forwarded-Proto": "https"})
    assert (seen["client"], seen["secure"]) == ("203.0.113.9", True)
    assert not FORWARDING & set(seen["headers"])


@pytest.mark.parametrize("options", [PROTOCOL, H11], ids=["our protocol", "uvicorn's"])
@pytest.mark.parametrize(
    "lines",
    [
        "proxy_set_header Host $host; proxy_set_header X-Forwarded-For 127.0.0.1;",
        "proxy_set_header Host $host; proxy_set_header X-Forwarded-Host localhost;",
        'proxy_set_header Forwarded "for=127.0.0.1;host=localhost";',
    ],
)
def test_what_comes_through_a_trusted_proxy_is_not_from_this_machine(
    gateways: Gateways, options: tuple[str, ...], lines: str
) -> None:
    """Even where the admin endpoints are open to this machine."""
    door = gateways.door(*options, behind=lines, GATEWAY_ADMIN_OPEN="1", **TRUSTED)
    status, answer = door.ask({}, host="localhost")
    assert status == 401, answer
