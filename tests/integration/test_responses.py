"""What a site answers that no server can send, over the wire under each of uvicorn's protocols."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import pytest

from .servers import Gateway
from .sites import BuiltSite, plain_site

PROTOCOLS: Final = {
    "ours": "gateway.protocol:Protocol",
    "httptools": "httptools",
    "h11": "h11",
}
SECRET: Final = "correct-horse-battery"
LENGTH: Final = "Content-Length"
WRONG: Final[dict[str, tuple[dict[str, Any], str]]] = {
    **{
        f"{character!r} in a value": (
            {"headers": [["X-Key", f"{SECRET}{character}{SECRET}"]]},
            "the value of the header 'X-Key' has a control character",
        )
        for character in "\x00\x01\x08\n\x0b\x0c\r\x1f\x7f"
    },
    **{
        f"{end!r} at the end of a value": (
            {"headers": [["X-Key", f"{SECRET}{end}"]]},
            "the value of the header 'X-Key' has a control character",
        )
        for end in ("\n", "\r\n", "\x0b")
    },
    "a header in a value": (
        {"headers": [["X-Key", f"{SECRET}\r\nSet-Cookie: a=b"]]},
        "the value of the header 'X-Key' has a control character",
    ),
    "a control character in a header that is not sent": (
        {"headers": [["Connection", f"{SECRET}\x01"]]},
        "the value of the header 'Connection' has a control character",
    ),
    "a value beyond Latin-1": (
        {"headers": [["X-Key", f"{SECRET}\u20ac"]]},
        "the value of the header 'X-Key' has a character that is not in Latin-1",
    ),
    "a value that is a number": (
        {"headers": [["X-Key", 5]]},
        "the value of the header 'X-Key' is of the type int",
    ),
    "a value that is nothing": (
        {"headers": [["X-Key", None]]},
        "the value of the header 'X-Key' is of the type NoneType",
    ),
    **{
        f"the name {name!r}": ({"headers": [[name, SECRET]]}, f"{name!r} is not the name")
        for name in ("", "X Key", "X-Key:", "X-Key\n", "X\x01", "Schl\u00fcssel", "(X)")
    },
    **{
        f"the length {length!r}": (
            {"headers": [[LENGTH, length]]},
            "the value of the header 'Content-Length' is not 1 to 18 digits",
        )
        for length in (
            "+4", "0_4", " 4", "4 ", "-4", "4.0", "0x4", "4, 4", "", "four", "4" * 5000
        )
    },
    "a length in other digits": (
        {"headers": [[LENGTH, "\uff14"]]},
        "the value of the header 'Content-Length' has a character that is not in Latin-1",
    ),
    "two lengths that differ": (
        {"headers": [[LENGTH, "4"], ["content-length", "5"]]},
        "there are several headers 'Content-Length', and they differ",
    ),
    "a length in which two digits are not ASCII": (
        {"headers": [[LENGTH, "\u00b9\u00b2"]]},
        "the value of the header 'Content-Length' is not 1 to 18 digits",
    ),
    **{
        f"the status {status!r}": ({"status": status}, "is not the status of a response")
        for status in (
            "600 Far", "999 Far", "1000 Far", "100 Continue", "101 Switching Protocols",
            "199 Low", "099 Low", "99", "20", "2000", "200OK", "200\tOK", "200\nOK", " 200 OK",
            "abc", "abc OK", "", "+20 OK", "2_0 OK", "\uff12\uff10\uff10 OK", "-200 OK",
        )
    },
    **{
        f"the reason {reason!r}": (
            {"status": f"200 {reason}"},
            "the reason of the status 200 has a control character",
        )
        for reason in (f"{SECRET}\r\nX-Key: a", f"{SECRET}\x00", f"{SECRET}\u20ac")
    },
    "a status that is a number": ({"status": 200}, "the status is of the type int"),
}  # fmt: skip
FINE: Final[dict[str, dict[str, Any]]] = {
    "a tab in a value": {"headers": [["X-Key", "a\tb"]]},
    "Latin-1": {"headers": [["X-Key", "\u00fc"]]},
    "nothing": {"headers": [["X-Key", ""]]},
    "blanks around": {"headers": [["X-Key", " \ta "]]},
    "no reason": {"status": "200"},
    "an empty reason": {"status": "200 "},
    "a reason in Latin-1": {"status": "200 Gr\u00fc\u00dfe"},
    "headers of the connection": {
        "headers": [["Connection", "close"], ["Transfer-Encoding", "chunked"], ["Upgrade", "x"]]
    },
    "a status of its own": {"status": "299 Own"},
    "the last status": {"status": "599 Own"},
}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> tuple[BuiltSite, BuiltSite]:
    """One that answers as it is told, and its neighbour."""
    folder = tmp_path_factory.mktemp("sites")
    return plain_site(folder, "plain"), plain_site(folder, "neighbour")


@pytest.fixture(scope="module", params=PROTOCOLS)
def gateway(
    request: pytest.FixtureRequest,
    sites: tuple[BuiltSite, BuiltSite],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway under one of uvicorn's protocols."""
    entries = {site.name: site.entry for site in sites}
    folder = tmp_path_factory.mktemp("gateway")
    with Gateway(folder, entries, options=("--http", PROTOCOLS[request.param])) as running:
        yield running


class Visitor:
    """One connection, which is kept."""

    def __init__(self, gateway: Gateway) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        self._connection.connect()
        self._socket = self._connection.sock

    def ask(
        self, wanted: dict[str, Any], host: str = "plain.localhost", method: str = "POST"
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """The answer to a request for ``wanted``, on the same connection as all before."""
        assert self._connection.sock is self._socket, "the connection was closed"
        self._connection.request(method, "/", json.dumps(wanted), {"Host": host})
        answer = self._connection.getresponse()
        return answer, answer.read()

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


@pytest.fixture
def visitor(gateway: Gateway) -> Iterator[Visitor]:
    """Somebody with one connection."""
    with closing(Visitor(gateway)) as one:
        yield one


@pytest.mark.parametrize(("wanted", "reason"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_sent_is_a_500_that_the_log_explains(
    gateway: Gateway, visitor: Visitor, wanted: dict[str, Any], reason: str
) -> None:
    before = len(gateway.output)
    answer, page = visitor.ask(wanted)
    assert answer.status == 500
    error_id = re.search(r"<code>(\w+)</code>", page.decode())
    assert error_id, page
    said = gateway.output[before:]
    # One record: its first line has the site and the id, its last line the reason.
    first = next(line for line in said.splitlines() if f"(error {error_id[1]})" in line)
    assert " plain: " in first
    assert reason in said.partition(first)[2]
    assert SECRET not in said and SECRET.encode() not in page and "X-Key" not in answer.headers
    for host in ("plain.localhost", "neighbour.localhost"):
        answer, page = visitor.ask({}, host)
        assert (answer.status, json.loads(page)["host"]) == (200, host)


@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("wanted", FINE.values(), ids=FINE)
def test_what_can_be_sent_is(visitor: Visitor, wanted: dict[str, Any], method: str) -> None:
    for _ in range(2):
        answer, page = visitor.ask(wanted, method=method)
        assert answer.status == int(wanted.get("status", "200")[:3])
        assert bool(page) is (method == "POST")
        values = [value for name, value in wanted.get("headers", []) if name == "X-Key"]
        assert answer.headers.get_all("X-Key", []) == [value.strip() for value in values]
        assert answer.headers["Connection"] in (None, "keep-alive")
        assert not {"Upgrade", "Transfer-Encoding"} & set(answer.headers)


@pytest.mark.parametrize("lengths", [["{}"], ["{}", "{}"], ["{}", "00{}"], ["0{}"]], ids=str)
def test_equal_lengths_are_one(visitor: Visitor, lengths: list[str]) -> None:
    size = len(visitor.ask({})[1])
    headers = [[LENGTH, length.format(size)] for length in lengths]
    answer, page = visitor.ask({"headers": headers})
    assert answer.headers.get_all(LENGTH) == [str(size)]
    assert json.loads(page)["site"] == "plain"
    assert visitor.ask({})[0].status == 200
