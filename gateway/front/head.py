"""The rules for the head of a request, which are applied before a site sees the request.

They need only the ASGI scope, so they hold under every server. Every request passes them, so they
have to be fast: the result for the header names is cached for each sequence of names, and the
values are joined and searched as one string.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from starlette.types import Scope

from gateway.config.hosts import InvalidHostError, normalise_host

LONGEST_TARGET: Final = 16_384
"""The most bytes of a request target. RFC 9112, section 3, asks for 8000 at least."""
LENGTH_DIGITS: Final = 18
"""The most digits of a ``Content-Length``. RFC 9110, section 8.6, warns of numbers that overflow.
More digits than these may not fit into 64 bits, and Python refuses to read more than 4300."""


@dataclass(frozen=True, slots=True)
class _Treatment:
    """The values of a `Rule`, which describes them as its properties."""

    what: str
    status: int
    source: str


class Rule(Enum):
    """A fault that makes a request refused, or a header dropped. ``docs/http.md`` has them too."""

    PROXY = _Treatment(
        "the header `Proxy`, which would become `HTTP_PROXY`",
        0,
        "RFC 3875, section 4.1.18; CVE-2016-5385 (httpoxy)",
    )
    UNDERSCORE = _Treatment(
        "a header name with an underscore, which WSGI cannot tell from one with a hyphen",
        0,
        "RFC 3875, section 4.1.18; CVE-2026-3902",
    )
    NAME = _Treatment("a header name that is no token", 400, "RFC 9110, section 5.1")
    VALUE = _Treatment(
        "a control character in a header value, other than a tab", 400, "RFC 9110, section 5.5"
    )
    VERSION = _Treatment(
        "a version of HTTP other than 1.0, 1.1, 2 and 3", 400, "RFC 9112, section 2.3"
    )
    TARGET = _Treatment(
        "a control character, a space or a `#` in the request target", 400, "RFC 9112, section 3.2"
    )
    TARGET_FORM = _Treatment(
        "a request target that is neither a path, nor an `http` or `https` URI, nor the `*` of "
        "`OPTIONS`",
        400,
        "RFC 9112, section 3.2",
    )
    TARGET_HOST = _Treatment(
        "an absolute request target whose host is not the one of `Host`",
        400,
        "RFC 9112, section 3.2.2",
    )
    LONG_TARGET = _Treatment(
        f"a request target of more than {LONGEST_TARGET} bytes", 414, "RFC 9110, section 15.5.15"
    )
    HOST = _Treatment("no `Host`, or more than one", 400, "RFC 9112, section 3.2")
    HOST_VALUE = _Treatment(
        "a `Host` that is no host name or address, in ASCII, with an optional port",
        400,
        "RFC 9112, section 3.2; RFC 1123, section 2.1; RFC 5890, section 2.3.2.1",
    )
    LENGTH = _Treatment(
        f"a `Content-Length` that is no number of up to {LENGTH_DIGITS} digits, or more than one",
        400,
        "RFC 9110, section 8.6",
    )
    LENGTH_AND_CODING = _Treatment(
        "`Content-Length` together with `Transfer-Encoding`", 400, "RFC 9112, section 6.1"
    )
    UPGRADE = _Treatment(
        "a body and an offer to upgrade, under uvicorn's own protocol on httptools",
        400,
        "RFC 9110, section 7.8",
    )
    CODING = _Treatment(
        "a `Transfer-Encoding` other than `chunked`, or in HTTP/1.0", 400, "RFC 9112, section 6.1"
    )
    FORWARDED = _Treatment(
        "`Forwarded` and `X-Forwarded-*` that contradict each other, from a trusted proxy",
        400,
        "RFC 7239, section 7.4",
    )
    MANY_HEADERS = _Treatment("more headers than `GATEWAY_MAX_HEADERS`", 431, "RFC 6585, section 5")
    LARGE_HEAD = _Treatment(
        "a head of more bytes than `GATEWAY_MAX_HEAD` or the site's `max_header`",
        431,
        "RFC 6585, section 5",
    )

    @property
    def what(self) -> str:
        """The fault, in words that complete the sentence "The request has …"."""
        return self.value.what

    @property
    def status(self) -> int:
        """The status of the answer; 0 if the header is dropped and the request goes on."""
        return self.value.status

    @property
    def source(self) -> str:
        """The RFC with its section, and the CVE if there is one."""
        return self.value.source


class HeadLimits(NamedTuple):
    """``head``: the most bytes of target and headers together. ``headers``: their greatest number.

    ``upgrades`` is true if a request with a body may offer an upgrade of the protocol. It is false
    if the server would take the body for further requests (`gateway.front.server`).
    """

    head: int
    headers: int
    upgrades: bool = True


class RefusedError(Exception):
    """The request breaks ``rule``, so that no site may see it."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        super().__init__(rule.what)


# The bytes that a name may have (RFC 9110, section 5.6.2), in lower case as ASGI has names, without
# the underscore. `bytes.translate` deletes them; if anything is left over, the name is wrong.
_IN_NAMES: Final = b"!#$%&'*+-.^`|~0123456789abcdefghijklmnopqrstuvwxyz"
_APART: Final = b"\xff"
IN_VALUES: Final = bytes(byte for byte in range(256) if byte == 9 or 32 <= byte != 127)
"""The bytes that the value of a header may have, in a request or a response (RFC 9110, section
5.5). `bytes.translate` deletes them; if anything is left over, the value is wrong."""


# Real HTTP/2 is "2". A "2.0" comes from a request line that was parsed as HTTP/1.
_VERSIONS: Final = frozenset({"1.0", "1.1", "2", "3"})


class _Names(NamedTuple):
    """The facts about a head that follow from the names of its headers alone.

    ``size`` is in bytes. ``dropped`` is true if a header has to be dropped. ``framed`` is true if a
    header says how long the body is.
    """

    size: int
    host: int
    """The index of the only ``Host``; -1 if there is none, or more than one."""
    dropped: bool
    framed: bool


def clean(scope: Scope, limits: HeadLimits) -> str:
    """Check the head of an HTTP request, and return the host that it is for, in normal form.

    Removes headers that are to be dropped from ``scope``, and turns an absolute target into a
    path. Raises `RefusedError`.
    """
    if scope["http_version"] not in _VERSIONS:
        raise RefusedError(Rule.VERSION)
    headers = scope["headers"]
    if not headers:
        raise RefusedError(Rule.HOST)
    if len(headers) > limits.headers:
        raise RefusedError(Rule.MANY_HEADERS)
    names, values = zip(*headers, strict=True)
    seen = _look_at(names)
    target = _target(scope)
    written = _APART.join((*values, target))
    if seen.size + len(written) - len(values) > limits.head:
        raise RefusedError(Rule.LARGE_HEAD)
    if len(target) > LONGEST_TARGET:
        raise RefusedError(Rule.LONG_TARGET)
    if b" " in target or b"\t" in target or b"#" in target:
        raise RefusedError(Rule.TARGET)
    if written.translate(None, IN_VALUES):
        raise RefusedError(Rule.TARGET if target.translate(None, IN_VALUES) else Rule.VALUE)
    if b" " + _APART in written or b"\t" + _APART in written:
        # White space around a value is not part of it (RFC 9110, section 5.5); httptools keeps it.
        scope["headers"] = headers = [(name, value.strip(b" \t")) for name, value in headers]
        values = tuple(value for _, value in headers)
    if seen.host < 0:
        raise RefusedError(Rule.HOST)
    host = host_of(values[seen.host])
    if seen.framed:
        _check_framing(scope, limits)
    if seen.dropped:
        scope["headers"] = [item for item in headers if not _is_dropped(item[0])]
    if scope["path"][:1] != "/":
        _make_path(scope, host)
    return host


@lru_cache(maxsize=256)
def _look_at(names: tuple[bytes, ...]) -> _Names:
    """Check the names of the headers. Cached, because browsers send the same few sequences."""
    kept = [name for name in names if not _is_dropped(name)]
    if b"" in kept or b"".join(kept).translate(None, _IN_NAMES):
        raise RefusedError(Rule.NAME)
    return _Names(
        size=sum(map(len, names)),
        host=names.index(b"host") if names.count(b"host") == 1 else -1,
        dropped=len(kept) < len(names),
        framed=b"content-length" in names or b"transfer-encoding" in names,
    )


def _is_dropped(name: bytes) -> bool:
    return b"_" in name or name == b"proxy"


def host_of(value: bytes) -> str:
    """Return the normal form of a ``Host``; raises `RefusedError`.

    Only ASCII is accepted: clients send an internationalised name as A-labels (``xn--…``). Other
    letters can be mapped to the letters of another name (UTS #46), which the rules of a proxy in
    front would not have recognised.
    """
    try:
        return normalise_host(value.decode("ascii"))
    except (UnicodeDecodeError, InvalidHostError):
        raise RefusedError(Rule.HOST_VALUE) from None


def check_authority(target: bytes, host: str) -> bytes:
    """Return the path and query of a target in absolute form (RFC 9112, section 3.2.2).

    Raises `RefusedError` if it is for another host than ``host``, or in no form that we serve.
    """
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise RefusedError(Rule.TARGET_FORM)
    end = min(index for index in (rest.find(b"/"), rest.find(b"?"), len(rest)) if index >= 0)
    if host_of(rest[:end]) != host:
        raise RefusedError(Rule.TARGET_HOST)
    path = rest[end:]
    return path if path.startswith(b"/") else b"/" + path


def _target(scope: Scope) -> bytes:
    """Return path and query as they were sent; without the path if the server does not give it.

    In ASGI, ``raw_path`` is optional.
    """
    path = scope.get("raw_path")
    query: bytes = scope["query_string"]
    return path + query if path is not None else query


def _check_framing(scope: Scope, limits: HeadLimits) -> None:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    codings = [value for name, value in scope["headers"] if name == b"transfer-encoding"]
    if lengths and codings:
        raise RefusedError(Rule.LENGTH_AND_CODING)
    # isdigit() of bytes accepts ASCII digits only.
    if lengths and not (
        len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0]) <= LENGTH_DIGITS
    ):
        raise RefusedError(Rule.LENGTH)
    chunked = [coding.lower() for coding in codings] == [b"chunked"]
    if codings and not (chunked and scope["http_version"] != "1.0"):
        raise RefusedError(Rule.CODING)
    if not limits.upgrades and (codings or lengths[0].strip(b"0")) and _offers_upgrade(scope):
        raise RefusedError(Rule.UPGRADE)


def _offers_upgrade(scope: Scope) -> bool:
    names = [name for name, _ in scope["headers"]]
    options = [value for name, value in scope["headers"] if name == b"connection"]
    return b"upgrade" in names and b"upgrade" in b",".join(options).lower()


def _make_path(scope: Scope, host: str) -> None:
    """Turn a target in absolute form into a path; some servers pass such a target on as it came."""
    if scope["path"] == "*" and scope["method"] == "OPTIONS":
        return
    target = scope.get("raw_path") or scope["path"].encode()
    path = check_authority(target, host).partition(b"?")[0]
    scope["raw_path"] = path
    scope["path"] = unquote(path.decode("latin-1"))
