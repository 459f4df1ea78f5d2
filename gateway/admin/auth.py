"""Who may do what: the trust model of the admin endpoints.

A ``Host`` header proves nothing, and neither does a loopback peer: a proxy on the same machine is
one too. What proves something is the token.
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
    """What a request may see and do."""

    TRUSTED = auto()
    STRANGER = auto()
    """Bare liveness only: there is no proof that an operator asks."""
    FOREIGN = auto()
    """Nothing, token or not: a page of another origin makes the browser ask."""


class Authority:
    """Judges requests to the admin endpoints.

    With ``open_locally``, requests to ``admin_hosts`` that come straight from this machine are
    trusted without a token. On any other host they are not: a name that an attacker's DNS
    resolves to 127.0.0.1 would otherwise make the operator's browser an operator.
    """

    def __init__(self, token: Token, admin_hosts: Collection[str], *, open_locally: bool) -> None:
        self.token = token
        self.trouble: str | None = None
        """Why it cannot be said whether that is the token still."""
        self._admin_hosts = frozenset(admin_hosts)
        self._open_locally = open_locally

    def judge(self, request: HTTPConnection) -> Verdict:
        """Look at a request's headers and peer, nothing else."""
        if _is_foreign(request):
            return Verdict.FOREIGN
        credentials = request.headers.getlist("authorization")
        if credentials:
            trusted = len(credentials) == 1 and self._is_token(credentials[0])
        else:
            trusted = self._open_locally and self._is_local(request)
        return Verdict.TRUSTED if trusted else Verdict.STRANGER

    def _is_token(self, credentials: str) -> bool:
        """Whether they are ``Bearer TOKEN`` (RFC 6750, section 2.1), found out in constant time."""
        scheme, _, secret = credentials.partition(" ")
        # Starlette decodes headers as Latin-1, so this gives back the bytes that were sent.
        given = secret.strip().encode("latin-1")
        return scheme.lower() == "bearer" and hmac.compare_digest(given, self.token.secret)

    def _is_local(self, request: HTTPConnection) -> bool:
        """Whether the request comes straight from a program on this machine.

        A peer on a Unix socket has no address and is not local: proxies come that way.
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
    """Whether a browser says that another origin is behind the request.

    Headers that only browsers send, and that no page can forge: ``Sec-Fetch-Site`` (Fetch Metadata)
    and ``Origin`` (RFC 6454), where ``null`` is an origin that hides.
    """
    fetches = request.headers.getlist("sec-fetch-site")
    if not _OWN_FETCHES.issuperset(fetches):
        return True
    own = _origin(f"{request.scope['scheme']}://{request.headers.get('host', '')}")
    return any(
        own is None or _origin(origin) != own for origin in request.headers.getlist("origin")
    )


def _origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin; ``None`` for what is not one."""
    try:
        parts = urlsplit(text)
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        return parts.scheme, normalise_host(parts.netloc), port
    except (ValueError, KeyError, InvalidHostError):
        return None
