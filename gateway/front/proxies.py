"""Find the real client, scheme and host of a request that came through proxies.

If a proxy is trusted, its ``Forwarded`` (RFC 7239) and ``X-Forwarded-*`` headers count. Their
values go into the scope, where Django finds them: client, scheme, port and ``Host``. If anybody
else sends these headers, no site sees them, so a site with ``SECURE_PROXY_SSL_HEADER`` cannot be
fooled.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from random import getrandbits
from typing import Final, Literal, NamedTuple

from starlette.types import Scope

from gateway.front.head import RefusedError, Rule, host_of

UNIX: Final = "unix"
"""The entry for proxies on a Unix socket, which have no address."""

TrustedProxy = IPv4Network | IPv6Network | Literal["unix"]

CONNECTION: Final = "gateway.connection"
"""The scope key of client and scheme as the connection has them.

`gateway.protocol` sets it, because uvicorn's ``--proxy-headers`` rewrites both before any
application runs.
"""
REQUEST_ID: Final = "gateway.request_id"
"""The scope key of the request's id; a site finds the id in the header ``X-Request-ID``."""

# The names under which proxies of all kinds send the client's address, scheme and host.
_PREFIX: Final = b"x-forwarded-"
WITHHELD: Final = frozenset(
    {
        b"cf-connecting-ip",
        b"fastly-client-ip",
        b"forwarded",
        b"front-end-https",
        b"true-client-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-original-host",
        b"x-original-url",
        b"x-real-ip",
        b"x-request-id",
        b"x-rewrite-url",
        b"x-scheme",
        b"x-url-scheme",
    }
)
"""Headers that a site sees only from a trusted proxy, as it does all ``X-Forwarded-*``."""
_UNDERSTOOD: Final = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"x-request-id",
    }
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_ID: Final = re.compile(rb"[A-Za-z0-9+/=._:-]{1,128}")
_LONGEST_ENTRY: Final = 64
_NOBODY: Final = ("", 0)
# RFC 7239, section 4: token "=" ( token / quoted-string ).
_PAIR: Final = re.compile(
    r"""[ \t]*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))[ \t]*([;,]|$)"""
)


_Address = IPv4Address | IPv6Address
_Peer = tuple[str, int]


class _Said(NamedTuple):
    """The values in the headers of the proxies; ``None`` or empty if there is none."""

    client: _Peer | None
    scheme: str
    host: str
    port: str


class Proxies:
    """The trusted proxies, whose headers count.

    Their headers about the host count only with ``trust_host``. If a proxy does not replace such a
    header, its value comes from any client, while the proxy applied its own rules to ``Host``.
    """

    def __init__(self, trusted: Iterable[TrustedProxy] = (), *, trust_host: bool = False) -> None:
        networks = list(trusted)
        self._unix = UNIX in networks
        self._networks = [network for network in networks if network != UNIX]
        self._any = bool(networks)
        self._trust_host = trust_host
        self._has = lru_cache(maxsize=4096)(self._look_up)

    def follow(self, scope: Scope, host: str) -> tuple[str, bool]:
        """Put the values from a trusted proxy's headers into ``scope``.

        Returns the host that the request is for (``host``, or the one that the proxy names), and
        whether the request came from a trusted proxy. Among the headers only ``Host`` may change.
        Raises `RefusedError`.
        """
        connection = scope.get(CONNECTION)
        if connection is not None:
            scope["client"], scope["scheme"] = connection
        if not self._any:
            return host, False
        peer = scope.get("client")
        if not (self._unix if peer is None else self._has(peer[0])):
            return host, False
        said = self._read(scope["headers"])
        if said.client is not None:
            scope["client"] = said.client
        if said.scheme in _DEFAULT_PORTS:
            scope["scheme"] = said.scheme
        if said.host:
            value = said.host.encode("latin-1")
            host = host_of(value)
            scope["headers"] = [
                (name, value if name == b"host" else old) for name, old in scope["headers"]
            ]
        scope["server"] = _server(scope, said.port)
        return host, True

    def _read(self, headers: Iterable[tuple[bytes, bytes]]) -> _Said:
        lines = _Lines(headers)
        chain, elements = lines.clients(), lines.elements()
        _, client = self._walk(chain)
        if not chain and not elements:
            client = _peer(lines.last(b"x-real-ip"))
        said = _Said(
            client,
            lines.last(b"x-forwarded-proto").lower(),
            lines.last(b"x-forwarded-host") if self._trust_host else "",
            lines.last(b"x-forwarded-port"),
        )
        if not elements:
            return said
        place, client = self._walk([element.get("for", "") for element in elements])
        written = {} if place is None else elements[place]
        scheme = written.get("proto", "").lower()
        # A host that does not count cannot contradict another.
        host = written.get("host", "") if self._trust_host else ""
        # A proxy that writes only one kind of these headers passes the other kind on, whoever
        # wrote it. So two kinds that contradict each other cannot be trusted.
        if (
            (chain and (client or _NOBODY)[0] != (said.client or _NOBODY)[0])
            or (scheme and said.scheme and scheme != said.scheme)
            or (host and said.host and not _same_host(host, said.host))
        ):
            raise RefusedError(Rule.FORWARDED)
        return _Said(client, scheme or said.scheme, host or said.host, said.port)

    def _walk(self, chain: list[str]) -> tuple[int | None, _Peer | None]:
        """Return the first hop that is not trusted, from the nearest on: its index and address.

        An entry that is not an address ends the search at the hop before it: the proxy that wrote
        the entry did not know the address, and entries further left may come from anybody.
        """
        place, client = None, None
        for index in range(len(chain) - 1, -1, -1):
            peer = _peer(chain[index])
            if peer is None:
                break
            place, client = index, peer
            if not self._has(peer[0]):
                break
        return place, client

    def _look_up(self, host: str) -> bool:
        try:
            address = _unmapped(ipaddress.ip_address(host))
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def _same_host(one: str, other: str) -> bool:
    return host_of(one.encode("latin-1")) == host_of(other.encode("latin-1"))


def hand_over(scope: Scope, *, trusted: bool) -> str:
    """Leave only the headers that a site may see, and return the id of the request.

    Of the headers about forwarding only the values in the scope stay. A site behind a trusted proxy
    finds ``X-Forwarded-For`` and ``X-Forwarded-Proto`` with one value each, because some projects
    require them. It also gets those headers of the proxy that the gateway does not interpret, such
    as ``X-Forwarded-User``.
    """
    headers = scope["headers"]
    names = [name for name, _ in headers]
    identity = (trusted and _given_id(headers)) or f"{getrandbits(64):016x}"
    if trusted:
        headers = [item for item in headers if item[0] not in _UNDERSTOOD]
        if client := scope.get("client"):
            headers.append((b"x-forwarded-for", client[0].encode()))
        headers.append((b"x-forwarded-proto", scope["scheme"].encode()))
    elif _PREFIX in b"".join(names) or not WITHHELD.isdisjoint(names):
        headers = [item for item in headers if not _is_forwarding(item[0])]
    scope["headers"] = [*headers, (b"x-request-id", identity.encode())]
    scope[REQUEST_ID] = identity
    return identity


def _given_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    given = [value for name, value in headers if name == b"x-request-id"]
    return given[0].decode() if len(given) == 1 and _ID.fullmatch(given[0]) else None


def _is_forwarding(name: bytes) -> bool:
    return name.startswith(_PREFIX) or name in WITHHELD


class _Lines:
    """The headers of a request that proxies write."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, list[str]] = {}
        for name, value in headers:
            if name in _UNDERSTOOD:
                self._values.setdefault(name, []).append(value.decode("latin-1"))

    def clients(self) -> list[str]:
        """Return the entries of all ``X-Forwarded-For``; that of the nearest hop is last."""
        values = self._values.get(b"x-forwarded-for", [])
        return [entry.strip() for entry in ",".join(values).split(",")] if values else []

    def last(self, name: bytes) -> str:
        """Return the value that the nearest proxy wrote: the last one of a list (``a, b``)."""
        values = self._values.get(name)
        return values[-1].rpartition(",")[2].strip() if values else ""

    def elements(self) -> list[dict[str, str]]:
        """Return the elements of all ``Forwarded`` (RFC 7239, section 4); a broken one is empty."""
        values = self._values.get(b"forwarded")
        return list(_elements(", ".join(values))) if values else []


def _elements(value: str) -> Iterator[dict[str, str]]:
    element: dict[str, str] = {}
    position = 0
    while position < len(value):
        pair = _PAIR.match(value, position)
        if pair is None:
            # Elements to the left of a broken one do not count: the walk ends at an empty one.
            position = value.find(",", position) + 1 or len(value)
            yield {}
            element = {}
            continue
        position = pair.end()
        name, quoted, token, end = pair.groups()
        element[name.lower()] = token or re.sub(r"\\(.)", r"\1", quoted or "")
        if end != ";":
            yield element
            element = {}
    if element:
        yield element


def _peer(entry: str) -> _Peer | None:
    """Return the address and port in ``192.0.2.1:80``, ``[2001:db8::1]:80`` and the like.

    The port is 0 if there is none. Returns ``None`` if ``entry`` is not an address.
    """
    return _parsed(entry) if len(entry) <= _LONGEST_ENTRY else None


@lru_cache(maxsize=4096)
def _parsed(entry: str) -> _Peer | None:
    """Parse an entry. Cached, because ``ipaddress`` is slow, and visitors come again."""
    host, port = entry, ""
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        port = port.removeprefix(":")
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return str(_unmapped(address)), int(port) if _PORT.fullmatch(port) else 0


def _unmapped(address: _Address) -> _Address:
    return getattr(address, "ipv4_mapped", None) or address


def _server(scope: Scope, port: str) -> tuple[str, int]:
    """Return our own name, with the port that the client connected to."""
    if not _PORT.fullmatch(port):
        host = next(value for name, value in scope["headers"] if name == b"host")
        port = host.decode("latin-1").rpartition(":")[2]
    name, own_port = scope.get("server") or (None, None)
    return (
        # A server on a Unix socket has a path, and no port.
        name if name and own_port else "localhost",
        int(port) if _PORT.fullmatch(port) else _DEFAULT_PORTS[scope["scheme"]],
    )
