"""The head of a response: whatever passes can be sent, by the strictest of the servers."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.execution.wsgi.response import Head, ResponseError

STATUSES = st.from_regex(r"[0-9]{3}( [A-Z]{2})?", fullmatch=True) | st.text(max_size=6)
NAMES = st.sampled_from(["X-A", "Content-Length", "Connection", "Vary"]) | st.text(max_size=4)
VALUES = st.from_regex(r"[ +-]?[0-9]{1,3}", fullmatch=True) | st.text(max_size=4)


@given(STATUSES, st.lists(st.tuples(NAMES, VALUES), max_size=4))
@example("200 OK", [("Content-Length", "5"), ("CONTENT-LENGTH", "05")])
@example("204 OK", [("Content-Length", "5"), ("Content-Length", "5")])
@example("599", [("X-A", "\t\xfc\t \xff ")])
def test_what_passes_can_be_sent(status: str, headers: list[tuple[str, str]]) -> None:
    try:
        head = Head(status, headers)
    except ResponseError:
        return
    assert head.status == int(status[:3]) and 200 <= head.status <= 599
    sent = h11.Response(status_code=head.status, headers=head.headers)
    lengths = [value for name, value in sent.headers if name == b"content-length"]
    assert lengths == ([] if head.length is None else [b"%d" % head.length])
    assert len(head.headers) <= len(headers)


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ([], []),
        ([("X-A", " a\t")], [(b"x-a", b"a")]),
        ([("x-a", "1"), ("X-A", "2")], [(b"x-a", b"1"), (b"x-a", b"2")]),
        ([("Connection", "close"), ("X-A", "1")], [(b"x-a", b"1")]),
        ([("Content-Length", "007"), ("X-A", "1")], [(b"x-a", b"1"), (b"content-length", b"7")]),
        ([["X-A", "1"]], [(b"x-a", b"1")]),
    ],
)
def test_what_is_sent(headers: list[tuple[str, str]], sent: list[tuple[bytes, bytes]]) -> None:
    assert Head("200 OK", headers).headers == sent


@pytest.mark.parametrize("headers", [[("X-A",)], [("X-A", "1", "2")], [("X-A", "1"), ("X-B",)]])
def test_what_is_no_pair_is_an_error(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError):
        Head("200 OK", headers)


def test_what_is_no_text_is_named() -> None:
    with pytest.raises(ResponseError, match="the name of a header is of the type bytes"):
        Head("200 OK", [(b"X-A", "1")])  # type: ignore[list-item]
    with pytest.raises(ResponseError, match="'X-A' is of the type bytes"):
        Head("200 OK", [("X-A", b"1")])  # type: ignore[list-item]
    with pytest.raises(ResponseError, match="the status is of the type bytes"):
        Head(b"200 OK", [])  # type: ignore[arg-type]


def test_no_class_of_a_site_stays_in_a_cache() -> None:
    """It would keep the generation that it is of."""

    class Name(str):
        def encode(self, *_: object) -> bytes:
            raise RuntimeError("this is the site's own")

        __hash__ = str.__hash__

    head = Head(Name("200 OK"), [(Name("X-Of-A-Site"), Name("1"))])
    assert (head.status, head.headers) == (200, [(b"x-of-a-site", b"1")])
    gone = weakref.ref(Name)
    del Name
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("headers", [{"X-Key": "1"}, [("X-Key", "1", "2")], ["X-Key"], [1]])
def test_headers_that_are_no_pairs_are_said_to_be_so(headers: Any) -> None:
    with pytest.raises(ResponseError, match="no list of pairs"):
        Head("200 OK", headers)
