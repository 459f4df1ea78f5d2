"""Streams of bytes that clients, broken clients and attackers send."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from hypothesis import strategies as st

HOST: Final = b"a.test"
_METHODS: Final = [b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"PROPFIND"]
_ODD_METHODS: Final = [b"CONNECT", b"get", b"PRI", b"FOO", b"G\tET", b"", b"GET ", b"SOURCE"]
_TARGETS: Final = [b"/", b"/x?y=1", b"/%41", b"//two", b"http://a.test", b"http://a.test/z?w"]
_TARGETS_MORE: Final = [b"http://a.test?q", b"*", b"/a;b,c", b"/" + b"p" * 300]
_ODD_TARGETS: Final = [
    b"http://b.test/",
    b"ftp://a.test/",
    b"a.test:443",
    b"",
    b"/a b",
    b"/\xe4",
    b"x",
]
_ODD_TARGETS_MORE: Final = [b"/\x7f", b"/a#b", b"http://u@a.test/", b"http:///", b"/\x00"]
_VERSIONS: Final = [b"HTTP/1.1"] * 12 + [b"HTTP/1.0"]
_ODD_VERSIONS: Final = [
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"http/1.1",
    b"HTTP/1.1 ",
    b"HTTP/11",
]
_PLAIN: Final = [
    b"Accept: */*",
    b"Cookie: a=b; c",
    b"X-A:1",
    b"X-B:",
    b"X-C: \tpadded \t",
    b"X-D: \xe4\xff",
    b"Expect: 100-continue",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Connection: Keep-Alive, X-A",
    b"Upgrade: h2c",
    b"Content-Type: text/plain",
]
_OFFERS: Final = [
    [b"Connection: Upgrade", b"Upgrade: h2c"],
    [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ"],
    [b"Upgrade: websocket", b"Connection: keep-alive, uPgRaDe", b"Sec-WebSocket-Version: 13"],
    [b"Connection: upgrade,close", b"Upgrade: TLS/1.3, foo/2"],
    [b"Connection: close", b"Connection: ,upgrade ,", b"Upgrade:"],
    [b"Upgrade: a", b"Upgrade: b", b"Connection: upgrade"],
]
_ODD_HEADERS: Final = [
    b"X A: 1",
    b"X-A : 1",
    b": 1",
    b"X-A",
    b" folded",
    b"X-A: 1\r\n folded",
    b"X-A: 1\x002",
    b"X-A: 1\r2",
    b"X-\xe4: 1",
    b"X_A: 1",
    b'X"A: 1',
    b"X(A: 1",
    b"Host: b.test",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding: chunked\t ",
    b"Content-Length: 3\t",
    b"Content-Length: 3 ",
    b"Content-Length: 3, 3",
    b"Content-Length: +3",
    b"Content-Length: 3 3",
    b"Content-Length: 0x3",
    b"Content-Length: -1",
    b"Content-Length:",
    b"Content-Length: 99999999999999999999999",
    b"Content-Length: 03",
    b"Content-Length: 0",
    b"Content-Length: 3",
    b"Transfer-Encoding: chunked",
]
_TRAILERS: Final = [b"X-Trailer: 1", b"Cookie: evil", b"Host: b.test", b"Content-Length: 5"]
_TRAILERS_MORE: Final = [
    b"Transfer-Encoding: chunked",
    b"X-Forwarded-For: 9.9.9.9",
    b"Upgrade: h2c",
]
_ODD_TRAILERS: Final = [b"broken", b" folded", b"X: \x00", b"X-Y : 1", b"Connection: upgrade"]
_EXTENSIONS: Final = [b""] * 8 + [b";a=b", b";a"]
_ODD_EXTENSIONS: Final = [b" ", b"; a", b" ;a", b";\x00", b"x", b";a\n", b"\t", b';a="b\r"', b"_"]
_LINE_ENDS: Final = [b"\r\n"]
_ODD_LINE_ENDS: Final = [b"\n", b"\r", b"\r\r\n", b"\n\r\n", b" \r\n", b""]
_BETWEEN: Final = [b""] * 10 + [b"\r\n"]
_ODD_BETWEEN: Final = [b"\n", b"\r\n\r\n", b" ", b"\0", b"\r", b"garbage"]

# A second request in a body is what smuggling is about.
_SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: b.test\r\n\r\n"
_BODIES: Final = st.one_of(
    st.just(b""), st.just(_SMUGGLED), st.binary(max_size=40), st.just(b"0\r\n\r\n" + _SMUGGLED)
)


def _odd(draw: st.DrawFn, usual: Sequence[bytes], odd: Sequence[bytes], oddness: int) -> bytes:
    """One of what is usual, or, once in ``oddness`` times, of what is odd; never if it is 0."""
    if oddness and draw(st.integers(0, oddness)) == oddness:
        return draw(st.sampled_from(odd))
    return draw(st.sampled_from(usual))


@st.composite
def _requests(draw: st.DrawFn, oddness: int) -> bytes:
    def end() -> bytes:
        return _odd(draw, _LINE_ENDS, _ODD_LINE_ENDS, oddness * 4)

    method = _odd(draw, _METHODS, _ODD_METHODS, oddness)
    target = _odd(draw, _TARGETS + _TARGETS_MORE, _ODD_TARGETS + _ODD_TARGETS_MORE, oddness)
    version = _odd(draw, _VERSIONS, _ODD_VERSIONS, oddness)
    lines = [b"Host: " + HOST]
    lines += draw(st.lists(st.sampled_from(_PLAIN), max_size=3))
    if draw(st.integers(0, 2)) == 0:
        lines += draw(st.sampled_from(_OFFERS))
    if oddness and draw(st.integers(0, oddness)) == oddness:
        lines.append(draw(st.sampled_from(_ODD_HEADERS)))
    body = b""
    match draw(st.sampled_from(["none", "length", "chunked", "none"])):
        case "length":
            body = draw(_BODIES)
            length = len(body) + (draw(st.integers(-1, 1)) if oddness else 0)
            lines.append(b"Content-Length: %d" % max(length, 0))
        case "chunked":
            lines.append(
                draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked"]))
            )
            for piece in draw(st.lists(_BODIES, max_size=3)):
                if piece:
                    size = draw(st.sampled_from([b"%x", b"%X", b"00%x"])) % len(piece)
                    extension = _odd(draw, _EXTENSIONS, _ODD_EXTENSIONS, oddness * 2)
                    body += size + extension + end() + piece + end()
            body += b"0" + _odd(draw, _EXTENSIONS, _ODD_EXTENSIONS, oddness * 2) + end()
            for _ in range(draw(st.integers(0, 2))):
                trailer = _odd(draw, _TRAILERS + _TRAILERS_MORE, _ODD_TRAILERS, oddness * 2)
                body += trailer + end()
            body += end()
    if draw(st.booleans()):
        lines = draw(st.permutations(lines))
    head = b" ".join((method, target, version)) + end()
    for line in lines:
        head += line + end()
    return head + end() + body


@st.composite
def _streams(draw: st.DrawFn) -> bytes:
    oddness = draw(st.sampled_from([0, 0, 4, 12]))
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        parts.append(draw(_requests(oddness)))
        parts.append(_odd(draw, _BETWEEN if oddness else [b""], _ODD_BETWEEN, oddness * 2))
    stream = b"".join(parts)
    if oddness and draw(st.integers(0, 3)) == 0:
        # Some byte of it is another one, or gone, or there twice.
        place = draw(st.integers(0, max(len(stream) - 1, 0)))
        byte = draw(st.one_of(st.binary(max_size=2), st.sampled_from([b"\r", b"\n", b":", b" "])))
        stream = stream[:place] + byte + stream[place + draw(st.integers(0, 1)) :]
    return stream


STREAMS: Final = _streams()


@st.composite
def segmentations(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """The stream as the network may bring it: whole, byte by byte, or cut at any places."""
    match draw(st.sampled_from(["whole", "bytes", "cuts", "cuts"])):
        case "whole":
            return [stream]
        case "bytes":
            return [bytes([byte]) for byte in stream]
    places = draw(st.lists(st.integers(0, len(stream)), max_size=6))
    cuts = [0, *sorted(places), len(stream)]
    return [stream[a:b] for a, b in pairwise(cuts) if a < b]
