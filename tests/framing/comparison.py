"""Both readers on one stream, and what must hold."""

from __future__ import annotations

from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.protocol import Protocol
from tests.framing.readers import by_gateway, by_h11
from tests.framing.refusals import HERE, THERE


def compare(segments: Sequence[bytes], protocol: type[HttpToolsProtocol] = Protocol) -> str:
    """Read ``segments`` with both; raises ``AssertionError`` where they differ without a reason.

    Returns in a word how they ended: ``same``, or who refused.
    """
    stream = b"".join(segments)
    ours, theirs = by_gateway(segments, protocol), by_h11(stream)
    assert ours.closed or not ours.refused, "refused, and left open"
    common = min(len(ours.requests), len(theirs.requests))
    assert ours.requests[:common] == theirs.requests[:common], "a request is another one"
    if len(ours.requests) < len(theirs.requests):
        assert ours.refused, "a request that h11 takes is neither there nor refused"
        assert any(each.sign.search(stream) for each in HERE), "refused for no written reason"
        return "refused here"
    if len(ours.requests) > len(theirs.requests):
        assert theirs.refused, "a request that h11 does not see"
        assert any(each.sign.search(stream) for each in THERE), "taken for no written reason"
        return "refused there"
    whole = by_gateway([stream], protocol)
    assert (ours.requests, ours.refused) == (whole.requests, whole.refused), "segments count"
    return "same"
