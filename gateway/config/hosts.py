"""Find the site that answers to a host name: normal forms of host names, and the table of hosts.

Everything here is pure data. A ``HostTable`` is never altered; a change of the configuration makes
a new one. So any thread can read it without a lock.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import ClassVar, Final

import idna

from gateway.errors import GatewayError

ADMIN_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""The hosts on which the gateway itself answers, in normal form. No site can claim one of them."""

# A name has at most 253 characters, and a port six more. The limit is higher for names that are not
# yet in their ASCII form. A longer input is refused at once, which saves the work.
_LONGEST_INPUT: Final = 1024
_LONGEST_NAME: Final = 253

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PORT: Final = re.compile(r":[0-9]{0,5}")
_HIGHEST_PORT: Final = 65535


class InvalidHostError(GatewayError):
    """The value of a ``Host`` header, or a host in ``sites.json``, is not a host.

    ``reason`` is a part of a sentence that says what a host has to look like. It never repeats the
    value, because that may come from anybody.
    """

    status: ClassVar[int] = 400

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"not a host name: {reason}")


@lru_cache(maxsize=4096)
def normalise_host(value: str) -> str:
    """Return the normal form of a host, without the port.

    ``Shop.Example.:8000`` becomes ``shop.example``, ``münchen.example`` becomes
    ``xn--mnchen-3ya.example``, ``[0:0::1]:80`` becomes ``[::1]``. ``value`` is that of a ``Host``
    header (RFC 9110, section 7.2: ``uri-host [":" port]``) or a host that somebody typed.
    Normalising a normal form changes nothing.

    A name consists of labels of letters, digits and inner hyphens (RFC 1123, section 2.1, and
    RFC 5890, section 2.3.1). The ``reg-name`` of RFC 3986, section 3.2.2, allows more, but Django
    refuses the rest, such as underscores, so no site could answer.

    Raises ``InvalidHostError`` and nothing else, whatever the text is.
    """
    if len(value) > _LONGEST_INPUT:
        raise InvalidHostError(f"it has {len(value)} characters, and {_LONGEST_NAME} is the limit")
    host, port = _split_port(value)
    if port and not (_PORT.fullmatch(port) and int(port[1:] or "0") <= _HIGHEST_PORT):
        raise InvalidHostError(_why_not_a_port(value))
    if host.startswith("["):
        return _normalise_ipv6(host)
    name = host.lower() if host.isascii() else _encode_idna(host)
    name = name.removesuffix(".")
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise InvalidHostError(_why_not_a_name(name))
    # RFC 1123, section 2.1: the last label of a name is alphabetic, or this is an address.
    if name[name.rfind(".") + 1 :].isdigit() and not _is_ipv4(name):
        raise InvalidHostError("it ends in a number but is not an IPv4 address")
    return name


def normalise_pattern(value: str) -> str:
    """Return the normal form of a host in ``sites.json``: an exact one, or ``*.example.com``.

    Raises ``InvalidHostError`` where ``normalise_host`` does, for a port (a site answers on every
    port), and for a ``*`` that is not the whole first label of a name.
    """
    exact = value.removeprefix("*.")
    if "*" in exact:
        raise InvalidHostError(
            'a "*" can only be the whole first label, as in "*.example.com"; for a site that '
            'answers to every host use "default_site"'
        )
    _, port = _split_port(exact)
    if _PORT.fullmatch(port):
        raise InvalidHostError("leave out the port, for a site answers on every port")
    host = normalise_host(exact)
    if exact == value:
        return host
    if host.startswith("[") or _is_ipv4(host):
        raise InvalidHostError('"*." can only stand before a name, not before an address')
    return f"*.{host}"


class HostTable:
    """An immutable table from hosts to the names of sites.

    An exact host wins over a wildcard, a longer wildcard wins over a shorter one, and each of them
    wins over the default. ``*.example.com`` matches ``a.example.com`` and ``a.b.example.com``, but
    not ``example.com`` itself.
    """

    __slots__ = ("_default", "_exact", "_wildcards")

    def __init__(
        self, exact: Mapping[str, str], wildcards: Mapping[str, str], default: str | None
    ) -> None:
        """Make a table. The keys of ``wildcards`` have no ``*.``; the values are names of sites."""
        self._exact = MappingProxyType(dict(exact))
        self._wildcards = MappingProxyType(dict(wildcards))
        self._default = default

    @classmethod
    def build(cls, hosts: Mapping[str, Iterable[str]], default: str | None) -> HostTable:
        """Build the table from the hosts of each site, all in normal form.

        Raises ``ValueError`` if two sites claim one host, which ``read_config`` rules out.
        """
        exact: dict[str, str] = {}
        wildcards: dict[str, str] = {}
        for site, patterns in hosts.items():
            for pattern in patterns:
                suffix = pattern.removeprefix("*.")
                table = exact if suffix == pattern else wildcards
                if table.setdefault(suffix, site) != site:
                    raise ValueError(f"sites {table[suffix]!r} and {site!r} both claim {pattern!r}")
        return cls(exact, wildcards, default)

    def find(self, host: str) -> str | None:
        """Return the site that answers to ``host`` (in normal form), or ``None``.

        The cost depends on the labels of ``host``, not on the number of sites.
        """
        site = self._exact.get(host)
        if site is not None:
            return site
        if self._wildcards:
            # Label by label from the left, so the first suffix found is the longest.
            dot = host.find(".")
            while dot != -1:
                site = self._wildcards.get(host[dot + 1 :])
                if site is not None:
                    return site
                dot = host.find(".", dot + 1)
        return self._default


def _split_port(value: str) -> tuple[str, str]:
    """Split a host from the rest: empty, or a port with its colon, which is not yet checked."""
    if value.startswith("["):
        end = value.find("]") + 1 or len(value)
    else:
        end = value.find(":") if ":" in value else len(value)
    return value[:end], value[end:]


def _normalise_ipv6(literal: str) -> str:
    """Return ``[address]`` in the form of RFC 5952."""
    # A zone ("%eth0") has a meaning on one machine only, and never belongs in a Host header.
    if not literal.endswith("]") or "%" in literal:
        raise InvalidHostError("an IPv6 address stands in brackets, without a zone, as in [::1]")
    try:
        address = ipaddress.IPv6Address(literal[1:-1])
    except ValueError:
        raise InvalidHostError("what stands in brackets is not an IPv6 address") from None
    mapped = address.ipv4_mapped
    # Versions of Python write these addresses in two ways; RFC 5952, section 5, asks for this one.
    return f"[::ffff:{mapped}]" if mapped is not None else f"[{address.compressed}]"


def _is_ipv4(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _encode_idna(host: str) -> str:
    """Return the ASCII form of a name with letters beyond ASCII (UTS #46, RFC 5891)."""
    try:
        return idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError:
        raise InvalidHostError(
            "it is not an internationalised name (RFC 5891); if you are sure that it exists, "
            'write it in its ASCII form, "xn--…"'
        ) from None


def _why_not_a_port(value: str) -> str:
    if value.startswith("[") and not value[value.find("]") + 1 :].startswith(":"):
        return 'after the "]" of an address only a port can follow, as in [::1]:8000'
    if "://" in value:
        return "write the host alone, without https:// and without a path"
    if "@" in value:
        return "it must not contain a user name or a password"
    if value.count(":") > 1:
        return "an IPv6 address stands in brackets, as in [::1]"
    return f"after the colon stands a port, a number up to {_HIGHEST_PORT}"


def _why_not_a_name(name: str) -> str:
    """Say what is wrong with a text, in ASCII and lower case, that is not a host name."""
    if not name:
        return "it is empty"
    if "/" in name:
        return "write the host alone, without https:// and without a path"
    if "_" in name:
        return 'it contains "_", which host names must not (RFC 1123) and Django refuses'
    if "%" in name:
        return "percent-encoding has no place in a host name"
    if "@" in name:
        return "it must not contain a user name or a password"
    labels = name.split(".")
    if not all(labels):
        return "something must stand before and after each dot"
    if len(name) > _LONGEST_NAME or any(len(label) > 63 for label in labels):
        return f"a name has up to {_LONGEST_NAME} characters, and up to 63 between two dots"
    if any(label.startswith("-") or label.endswith("-") for label in labels):
        return "nothing between two dots may start or end with a hyphen"
    return "a name consists of letters, digits, hyphens and dots"
