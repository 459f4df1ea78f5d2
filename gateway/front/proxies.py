"""Whom a request is from, and how it was made, when a proxy stands between.

What a proxy says in ``Forwarded`` (RFC 7239) and ``X-Forwarded-*`` counts if the proxy is trusted,
and is in the scope then, where Django finds it: client, scheme, port and ``Host``. No site sees
what anybody else says in them, so a site with ``SECURE_PROXY_SSL_HEADER`` cannot be fooled.
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
"""Stands for peers on a Unix socket, which have no address."""

TrustedProxy = IPv4Network | IPv6Network | Literal["unix"]

CONNECTION: Final = "gateway.connection"
"""Scope key: client and scheme as the connection has them.

`gateway.protocol` sets it, since uvicorn's ``--proxy-headers`` rewrites both before any
application runs.
"""
REQUEST_ID: Final = "gateway.request_id"
"""Scope key: the id of the request; a site has it as the header ``X-Request-ID``."""

# What proxies of all kinds call the client's address, scheme and host.
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
"""Headers that a site sees from a trusted proxy alone, beside all ``X-Forwarded-*``."""
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
    """What the proxies say; ``None`` and empty where they say nothing."""

    client: _Peer | None
    scheme: str
    host: str
    port: str


class Proxies:
    """The proxies that are trusted: what they say counts.

    What they say of the host counts with ``trust_host`` alone: of a proxy that does not replace
    the header it is what any client wrote, and the rules of the proxy went by ``Host``.
    """

    def __init__(self, trusted: Iterable[TrustedProxy] = (), *, trust_host: bool = False) -> None:
        networks = list(trusted)
        self._unix = UNIX in networks
        self._networks = [network for network in networks if network != UNIX]
        self._any = bool(networks)
        self._trust_host = trust_host
        self._has = lru_cache(maxsize=4096)(self._look_up)

    def follow(self, scope: Scope, host: str) -> tuple[str, bool]:
        """Put into ``scope`` what a trusted proxy says.

        Returns the host that the request is for, ``host`` or what the proxy says instead, and
        whether it came from a trusted proxy. Of the headers only ``Host`` may change. Raises
        `RefusedError`.
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
        # What does not count contradicts nothing.
        host = written.get("host", "") if self._trust_host else ""
        # A proxy that knows one kind passes the other on, whoever wrote it.
        if (
            (chain and (client or _NOBODY)[0] != (said.client or _NOBODY)[0])
            or (scheme and said.scheme and scheme != said.scheme)
            or (host and said.host and not _same_host(host, said.host))
        ):
            raise RefusedError(Rule.FORWARDED)
        return _Said(client, scheme or said.scheme, host or said.host, said.port)

    def _walk(self, chain: list[str]) -> tuple[int | None, _Peer | None]:
        """From the nearest hop to the first that is not trusted: its place, address and port.

        An entry that is no address ends the way at the hop before it: whoever wrote it knew no
        better, and what stands further left may come from anybody.
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
    """Make the headers what a site may see, and return the id of the request.

    Nothing about forwarding stays but what is in the scope. A site behind a trusted proxy finds
    ``X-Forwarded-For`` and ``X-Forwarded-Proto`` with one value each, for projects that insist on
    them, and what the proxy says in headers that the gateway knows nothing of
    (``X-Forwarded-User``).
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
    """The headers of a request that say something about the way it came."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, list[str]] = {}
        for name, value in headers:
            if name in _UNDERSTOOD:
                self._values.setdefault(name, []).append(value.decode("latin-1"))

    def clients(self) -> list[str]:
        """The entries of all ``X-Forwarded-For``, the nearest hop's last."""
        values = self._values.get(b"x-forwarded-for", [])
        return [entry.strip() for entry in ",".join(values).split(",")] if values else []

    def last(self, name: bytes) -> str:
        """What the nearest proxy wrote, which may have added to a list (``a, b``)."""
        values = self._values.get(name)
        return values[-1].rpartition(",")[2].strip() if values else ""

    def elements(self) -> list[dict[str, str]]:
        """The elements of all ``Forwarded`` (RFC 7239, section 4); what is none is empty."""
        values = self._values.get(b"forwarded")
        return list(_elements(", ".join(values))) if values else []


def _elements(value: str) -> Iterator[dict[str, str]]:
    element: dict[str, str] = {}
    position = 0
    while position < len(value):
        pair = _PAIR.match(value, position)
        if pair is None:
            # Nothing to the left of what cannot be read counts: the walk ends at an empty one.
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
    """The address and port in ``192.0.2.1:80``, ``[2001:db8::1]:80`` and the like.

    Port 0 if there is none, ``None`` if it is no address.
    """
    return _parsed(entry) if len(entry) <= _LONGEST_ENTRY else None


@lru_cache(maxsize=4096)
def _parsed(entry: str) -> _Peer | None:
    """Cached: ``ipaddress`` is slow, and visitors come again."""
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
    """Our own name with the port that the client came to."""
    if not _PORT.fullmatch(port):
        host = next(value for name, value in scope["headers"] if name == b"host")
        port = host.decode("latin-1").rpartition(":")[2]
    name, own_port = scope.get("server") or (None, None)
    return (
        # On a Unix socket there is a path, and no port.
        name if name and own_port else "localhost",
        int(port) if _PORT.fullmatch(port) else _DEFAULT_PORTS[scope["scheme"]],
    )
