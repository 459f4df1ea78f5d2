"""Some thousand streams; ``python -m suites.framing`` tries more of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.framing.comparison import compare
from tests.framing.refusals import HERE, THERE
from tests.framing.streams import STREAMS, segmentations

SEGMENTS = STREAMS.flatmap(segmentations)
MANY = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))


@MANY
@example([b"GET /? HTTP/1.1\r\nHost: a.test\r\n\r\n"])
@given(SEGMENTS)
def test_the_gateway_reads_what_h11_reads(segments: list[bytes]) -> None:
    compare(segments)


@pytest.mark.parametrize(
    ("stream", "what"),
    [
        (
            b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
            b"Content-Length: 42\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: b.test\r\n\r\n12",
            "a request is another one",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
            "a request is another one",
        ),
    ],
    ids=["Upgrade", "trailers"],
)
def test_what_is_wrong_with_uvicorns_own_protocol_is_seen(stream: bytes, what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        compare([stream], HttpToolsProtocol)
    compare([stream])


def test_the_documentation_has_the_list_of_refusals() -> None:
    text = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
    for refusals in (HERE, THERE):
        rows = "".join(f"| {each.what} | {each.why} |\n" for each in refusals)
        assert f"|---|---|\n{rows}\n" in text
