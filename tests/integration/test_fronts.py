"""A front that has rules for a host, and what a client does to get past them.

Through a real nginx and a real HAProxy, under each of uvicorn's protocols. The front lets nobody
near the site ``guarded``; what it lets through is for ``public``, whatever else a client says. The
sites look at no host themselves, as Django does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final

import pytest

from .clients import converse
from .servers import Gateway
from .services import haproxy, nginx
from .sites import BuiltSite, plain_site

PROTOCOLS: Final = {
    "ours": ("--http", "gateway.protocol:Protocol"),
    "httptools": ("--http", "httptools", "--no-proxy-headers"),
    "h11": ("--http", "h11", "--no-proxy-headers"),
}
DROP_TRAILERS: Final = ("ours", "h11")
"""The protocols that may be used with trusted proxies."""
PROXY: Final = {"GATEWAY_TRUSTED_PROXIES": "127.0.0.1"}
MAY_CHOOSE: Final = {**PROXY, "GATEWAY_TRUST_FORWARDED_HOST": "1"}

NGINX: Final = """
if ($host = "guarded.localhost") { return 403; }
proxy_set_header Host $host;
"""
HAPROXY: Final = "    http-request deny if { hdr(host),field(1,:),lower -m str guarded.localhost }"
Front = Callable[[int], AbstractContextManager[int]]
FRONTS: Final[dict[str, Front]] = {
    "nginx": lambda port: nginx(port, NGINX),
    "haproxy": lambda port: haproxy(port, HAPROXY),
}
WRITTEN_OTHERWISE: Final = {
    "full-width letters": "\uff47\uff55\uff41\uff52\uff44\uff45\uff44.localhost",
    "one full-width letter": "\uff47uarded.localhost",
    "an ideographic full stop": "guarded\u3002localhost",
    "a mathematical letter": "\U0001d420uarded.localhost",
    "a soft hyphen": "guar\u00added.localhost",
    "an ordinal indicator": "gu\u00aarded.localhost",
    "percent": "%67uarded.localhost",
    "percent for a dot": "guarded%2elocalhost",
    "another name in Unicode": "m\u00fcnchen.localhost",
}
"""Hosts that are not ASCII, or not written as one is; most of them mean ``guarded`` to UTS #46."""
FORWARDED: Final = {
    "X-Forwarded-Host": "X-Forwarded-Host: {}\n",
    "Forwarded": 'Forwarded: for=127.0.0.1;host="{}"\n',
    "both": 'X-Forwarded-Host: {0}\nForwarded: for=127.0.0.1;host="{0}"\n',
    "both, and they differ": "X-Forwarded-Host: {}\nForwarded: for=127.0.0.1;host=x.localhost\n",
}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> tuple[BuiltSite, ...]:
    """One that the front lets nobody near, one for everybody, and one with a name in Unicode."""
    folder = tmp_path_factory.mktemp("sites")
    city = plain_site(folder, "city")
    return (
        plain_site(folder, "guarded"),
        plain_site(folder, "public"),
        BuiltSite("city", {**city.entry, "hosts": ["m\u00fcnchen.localhost"]}),
    )


class Doors:
    """Gateways and what stands before them, each started once."""

    def __init__(self, folder: Path, sites: tuple[BuiltSite, ...], stack: ExitStack) -> None:
        self._folder = folder
        self._entries = {site.name: site.entry for site in sites}
        self._stack = stack
        self._ports: dict[str, int] = {}

    def port(self, protocol: str, environ: dict[str, str], front: str | None = None) -> int:
        """The port of a gateway, or of the ``front`` before it."""
        key = json.dumps([protocol, environ, front])
        if key not in self._ports:
            if front is None:
                folder = self._folder / str(len(self._ports))
                folder.mkdir()
                gateway = Gateway(folder, self._entries, environ, PROTOCOLS[protocol])
                self._ports[key] = self._stack.enter_context(gateway).port
            else:
                behind = self.port(protocol, environ)
                self._ports[key] = self._stack.enter_context(FRONTS[front](behind))
        return self._ports[key]


@pytest.fixture(scope="module")
def doors(
    sites: tuple[BuiltSite, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Doors]:
    """Those that the tests of this file ask for."""
    with ExitStack() as stack:
        yield Doors(tmp_path_factory.mktemp("gateways"), sites, stack)


def get(port: int, host: str, lines: str = "", target: str = "/") -> tuple[int, str]:
    """The status, and the site that answered, if any did; both are sent in UTF-8."""
    head = f"GET {target} HTTP/1.1\nHost: {host}\n{lines}Connection: close\n\n"
    answer = converse(port, head.replace("\n", "\r\n").encode()).decode("latin-1")
    site = re.search(r'"site": "(\w+)"', answer)
    return int(answer.split(" ", 2)[1]), site[1] if site else ""


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_front_and_the_gateway_agree_on_the_site(
    doors: Doors, protocol: str, front: str
) -> None:
    """What the other tests rest on: the rule works, and the others are served."""
    port = doors.port(protocol, {}, front)
    assert get(port, "public.localhost") == (200, "public")
    assert get(port, "guarded.localhost") == get(port, "Guarded.LOCALHOST") == (403, "")
    assert get(port, "xn--mnchen-3ya.localhost") == (200, "city")


@pytest.mark.parametrize("host", WRITTEN_OTHERWISE.values(), ids=WRITTEN_OTHERWISE)
@pytest.mark.parametrize("front", [None, *FRONTS], ids=str)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_host_that_is_not_ascii_is_refused(
    doors: Doors, protocol: str, front: str | None, host: str
) -> None:
    assert get(doors.port(protocol, {}, front), host) == (400, "")


@pytest.mark.parametrize("host", WRITTEN_OTHERWISE.values(), ids=WRITTEN_OTHERWISE)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_absolute_target_that_is_not_ascii_is_refused(
    doors: Doors, protocol: str, host: str
) -> None:
    """uvicorn's own httptools forgets that host, as documented; it never routes."""
    port = doors.port(protocol, {})
    for named in ("guarded.localhost", "public.localhost"):
        status, site = get(port, named, target=f"http://{host}/")
        refused = (status, site) == (400, "")
        assert refused or (protocol == "httptools" and f"{site}.localhost" == named)
    assert get(port, "public.localhost", target="http://public.localhost/") == (200, "public")


@pytest.mark.parametrize("lines", FORWARDED.values(), ids=FORWARDED)
@pytest.mark.parametrize("front", [None, *FRONTS], ids=str)
@pytest.mark.parametrize("protocol", DROP_TRAILERS)
def test_host_alone_routes(doors: Doors, protocol: str, front: str | None, lines: str) -> None:
    """Also of a proxy that is trusted: it passes on what it does not replace."""
    port = doors.port(protocol, PROXY, front)
    assert get(port, "public.localhost", lines.format("guarded.localhost")) == (200, "public")


@pytest.mark.parametrize("lines", list(FORWARDED.values())[:3], ids=list(FORWARDED)[:3])
@pytest.mark.parametrize("protocol", DROP_TRAILERS)
def test_the_forwarded_host_routes_where_that_is_wanted(
    doors: Doors, protocol: str, lines: str
) -> None:
    port = doors.port(protocol, MAY_CHOOSE)
    assert get(port, "public.localhost", lines.format("guarded.localhost")) == (200, "guarded")
    # The wish of a stranger counts as little as before.
    assert get(doors.port(protocol, {}), "public.localhost", lines.format("x")) == (200, "public")


@pytest.mark.parametrize("host", WRITTEN_OTHERWISE.values(), ids=WRITTEN_OTHERWISE)
@pytest.mark.parametrize("lines", list(FORWARDED.values())[:2], ids=list(FORWARDED)[:2])
@pytest.mark.parametrize("protocol", DROP_TRAILERS)
def test_a_forwarded_host_that_is_not_ascii_is_refused(
    doors: Doors, protocol: str, lines: str, host: str
) -> None:
    port = doors.port(protocol, MAY_CHOOSE)
    assert get(port, "public.localhost", lines.format(host)) == (400, "")


@pytest.mark.parametrize("front", FRONTS)
def test_a_front_that_sets_the_host_it_means_may_choose(doors: Doors, front: str) -> None:
    """As where one hop reaches the gateway under a name of its own."""
    behind = doors.port("ours", MAY_CHOOSE)
    lines = {
        "nginx": "proxy_set_header Host inner; proxy_set_header X-Forwarded-Host $host;",
        "haproxy": "    http-request set-header X-Forwarded-Host %[hdr(host)]\n"
        "    http-request set-header Host inner",
    }[front]
    with {"nginx": nginx, "haproxy": haproxy}[front](behind, lines) as port:
        forged = "X-Forwarded-Host: guarded.localhost\n"
        assert get(port, "public.localhost", forged) == (200, "public")
