"""The written list: what one of the two refuses although the other takes it, and why.

`docs/http.md` has the same list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from re import Pattern
from typing import Final


@dataclass(frozen=True)
class Refusal:
    """``sign`` is found in every stream that is concerned, ``why`` names the source."""

    what: str
    sign: Pattern[bytes]
    why: str


def _sign(pattern: bytes) -> Pattern[bytes]:
    return re.compile(pattern, re.IGNORECASE)


# llhttp's list of methods for HTTP requests.
_METHODS: Final = (
    rb"ACL|BIND|CHECKOUT|COPY|DELETE|GET|HEAD|LINK|LOCK|M-SEARCH|MERGE|MKACTIVITY|MKCALENDAR|MKCOL|"
    rb"MOVE|NOTIFY|OPTIONS|PATCH|POST|PROPFIND|PROPPATCH|PURGE|PUT|QUERY|REBIND|REPORT|SEARCH|"
    rb"SOURCE|SUBSCRIBE|TRACE|UNBIND|UNLINK|UNLOCK|UNSUBSCRIBE"
)

HERE: Final = (
    Refusal(
        "a line that ends in LF alone, or with a CR in it",
        _sign(rb"(?<!\r)\n|\r(?!\n)"),
        "a recipient may take LF alone for an end, and need not; a bare CR is invalid; "
        "RFC 9112, section 2.2",
    ),
    Refusal(
        "a method that is not registered, or in other letters",
        # Case counts here, and it may stand anywhere: what is no request line is none of these.
        re.compile(rb"(?m)^(?!(?:%b) )[!-~]+ +[^ ]+ +(?i:HTTP/)[0-9]" % _METHODS),
        "httptools knows a list; RFC 9110, section 16.1",
    ),
    Refusal(
        "`CONNECT`, and the preface of HTTP/2",
        _sign(rb"\b(?:CONNECT|PRI) "),
        "`CONNECT` is for proxies; RFC 9110, section 9.3.6; RFC 9113, section 3.4",
    ),
    Refusal(
        "a version other than 1.0 and 1.1, or in small letters",
        _sign(rb" (?!(?-i:HTTP)/1\.[01](?![0-9 ]))HTTP/"),
        "RFC 9112, section 2.3",
    ),
    Refusal(
        "a folded header line",
        _sign(rb"\r\n[ \t]"),
        "a server may refuse it; RFC 9112, section 5.2",
    ),
    Refusal(
        "a target that is no path, no `http` URI of this host and not `OPTIONS *`",
        _sign(rb"(?m)^[!-~]+ +(?!(?:/|http://a\.test(?:[:/?]| )))[^ ]+ +HTTP/"),
        "RFC 9112, section 3.2",
    ),
    Refusal(
        "a `#`, a control character or a byte above 126 in the target",
        _sign(rb"(?m)^[!-~]+ +[^ \r\n]*[#\x00-\x1f\x7f-\xff][^\r\n]* HTTP/"),
        "RFC 9112, section 3.2; HAProxy before 2.8.2 took what follows the `#` for a part of the "
        "path, CVE-2023-45539",
    ),
    Refusal(
        "a `Host` that is no host",
        _sign(rb"(?m)^Host:[ \t]*(?!a\.test[ \t]*\r)"),
        "RFC 9112, section 3.2",
    ),
    Refusal(
        "a `Transfer-Encoding` other than `chunked`, more than one, or in HTTP/1.0",
        _sign(
            rb"Transfer-Encoding:(?![ \t]*chunked[ \t]*\r\n)|HTTP/1\.0\r\n(?s:.*)Transfer-Encoding|"
            rb"Transfer-Encoding(?s:.*)Transfer-Encoding"
        ),
        "RFC 9112, section 6.1",
    ),
    Refusal(
        "`Content-Length` together with `Transfer-Encoding`, of the head or of the trailers",
        _sign(rb"(?s)Content-Length.*Transfer-Encoding|Transfer-Encoding.*Content-Length"),
        "RFC 9112, section 6.1; RFC 9110, section 6.5.1",
    ),
    Refusal(
        "two of `Content-Length`, a list of them, or one that no number of 64 bits holds",
        _sign(rb"(?s)Content-Length.*Content-Length|Content-Length:[^\r]*,|[0-9]{19}"),
        "RFC 9110, section 8.6",
    ),
    Refusal(
        "white space or a control character beside the size of a chunk, or in its extension",
        _sign(rb"(?m)^[0-9a-f]+(?:[ \t]|;[^\r\n]*[\x00-\x20\x7f\"])"),
        "RFC 9112, section 7.1.1; a front may read it otherwise",
    ),
    Refusal(
        "a header name that is no token, or a control character in a value",
        _sign(
            rb"(?m)^[^\r\n]*[\x00-\x08\x0b-\x1f\x7f]|^[^\r\n:]*[^!#$%&'*+.^_`|~0-9a-z\r\n-][^\r\n:]*:"
        ),
        "RFC 9110, sections 5.1 and 5.5",
    ),
)
"""What h11 takes and the gateway refuses."""

THERE: Final = (
    Refusal(
        "an empty line, or a CR, before a request",
        _sign(rb"^[\r\n]|\n[\r\n]"),
        "a server should ignore it; RFC 9112, section 2.2",
    ),
    Refusal(
        "more than one space between the parts of a request line",
        _sign(rb"(?m)^[!-~]+ {2,}[^ ]|[^ ] {2,}HTTP/"),
        "a recipient may read it so; RFC 9112, section 3",
    ),
)
"""What the gateway takes and h11 refuses."""
