"""The trust model of the admin endpoints: who may see and do what.

A ``Host`` header proves nothing. A peer with a loopback address proves nothing either, because a
proxy on the same machine is such a peer. Only the token proves that an operator asks.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from enum import Enum, auto
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from gateway.admin.token import Token
from gateway.config.hosts import InvalidHostError, normalise_host

_FORWARDING: Final = frozenset({"forwarded", "via", "x-real-ip"})
_FORWARDING_PREFIX: Final = "x-forwarded-"
_OWN_FETCHES: Final = frozenset({"same-origin", "none"})
_PORTS: Final = {"http": 80, "https": 443}


class Verdict(Enum):
    """The rights of a request."""

    TRUSTED = auto()
    """An operator asks, and may see and do everything."""
    STRANGER = auto()
    """There is no proof that an operator asks. The request may see bare liveness only."""
    FOREIGN = auto()
    """A page of another origin makes a browser ask. The request is refused, even with the token."""


class Authority:
    """The judge of requests to the admin endpoints.

    With ``open_locally``, a request to one of ``admin_hosts`` that comes directly from this machine
    is trusted without a token. A request to another host is not: else an attacker could let his DNS
    name point to 127.0.0.1, and the operator's browser would act as an operator.
    """

    def __init__(self, token: Token, admin_hosts: Collection[str], *, open_locally: bool) -> None:
        self.token = token
        self.trouble: str | None = None
        """The reason why the token cannot be read again; ``None`` if it can."""
        self._admin_hosts = frozenset(admin_hosts)
        self._open_locally = open_locally

    def judge(self, request: HTTPConnection) -> Verdict:
        """Return the rights of a request, by its headers and its peer alone."""
        if _is_foreign(request):
            return Verdict.FOREIGN
        credentials = request.headers.getlist("authorization")
        if credentials:
            trusted = len(credentials) == 1 and self._is_token(credentials[0])
        else:
            trusted = self._open_locally and self._is_local(request)
        return Verdict.TRUSTED if trusted else Verdict.STRANGER

    def _is_token(self, credentials: str) -> bool:
        """Tell in constant time whether they are ``Bearer TOKEN`` (RFC 6750, section 2.1)."""
        scheme, _, secret = credentials.partition(" ")
        # Starlette decodes headers as Latin-1, so encoding returns the bytes that were sent.
        given = secret.strip().encode("latin-1")
        return scheme.lower() == "bearer" and hmac.compare_digest(given, self.token.secret)

    def _is_local(self, request: HTTPConnection) -> bool:
        """Tell whether the request comes directly from a program on this machine.

        A peer on a Unix socket has no address, and does not count as local: it may be a proxy.
        """
        if request.client is None or _is_forwarded(request.headers):
            return False
        try:
            peer = ipaddress.ip_address(request.client.host)
            host = normalise_host(request.headers.get("host", ""))
        except (ValueError, InvalidHostError):
            return False
        peer = getattr(peer, "ipv4_mapped", None) or peer
        return peer.is_loopback and host in self._admin_hosts


def _is_forwarded(headers: Headers) -> bool:
    return any(name in _FORWARDING or name.startswith(_FORWARDING_PREFIX) for name in headers)


def _is_foreign(request: HTTPConnection) -> bool:
    """Tell whether a browser says that a page of another origin made the request.

    Browsers say so in two headers that a page cannot forge: ``Sec-Fetch-Site`` (Fetch Metadata) and
    ``Origin`` (RFC 6454). An ``Origin`` of ``null`` stands for an origin that is kept secret.
    """
    fetches = request.headers.getlist("sec-fetch-site")
    if not _OWN_FETCHES.issuperset(fetches):
        return True
    own = _origin(f"{request.scope['scheme']}://{request.headers.get('host', '')}")
    return any(
        own is None or _origin(origin) != own for origin in request.headers.getlist("origin")
    )


def _origin(text: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an origin; ``None`` if ``text`` is not an origin."""
    try:
        parts = urlsplit(text)
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        return parts.scheme, normalise_host(parts.netloc), port
    except (ValueError, KeyError, InvalidHostError):
        return None
