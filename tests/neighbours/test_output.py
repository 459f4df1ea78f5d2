"""What a site does with the standard streams reaches neither visitors nor the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..integration.actions import reload
from ..integration.sites import BuiltSite, tiny_site
from .gateways import Start
from .hostile import plain_site
from .steady import ask

pytestmark = pytest.mark.timed

_RELOADS = 3
_CARELESS = """
import gc, io, os, sys

wrapper = io.TextIOWrapper(sys.stderr.buffer)
sys.stdout = open(sys.stdout.fileno(), mode="w", encoding="utf8", buffering=1)
sys.stderr = os.fdopen(2, "w")

def collect(environ):
    print("a line of the careless site")
    print("an error of the careless site", file=sys.stderr, flush=True)
    gc.collect()
    return "collected"

def close(environ):
    environ["wsgi.errors"].close()
    sys.__stderr__.close()
    sys.__stdout__.detach()
    return "closed"
"""


def test_10_streams_that_are_reopened_wrapped_or_closed(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    careless = plain_site(tmp_path, "careless", _CARELESS)
    late = tiny_site(tmp_path, "late")
    gateway = start(neighbour, careless, late)
    for _ in range(_RELOADS):
        assert ask(gateway, careless, "/close") == (200, "closed")
        assert reload(gateway, careless).status_code == 200
        assert ask(gateway, careless, "/collect") == (200, "collected")
        visitor = gateway.client(neighbour.host)  # one connection
        for number in range(5):
            assert visitor.get(f"/?seen={number}").status_code == 200
            assert ask(gateway, careless, "/collect")[0] == 200
    assert ask(gateway, late)[0] == 200, "no site can be loaded any more"
    assert ask(gateway, neighbour, "/?the-last")[0] == 200
    output = gateway.output
    assert output.count("a line of the careless site\n") == _RELOADS * 6
    assert output.count("an error of the careless site\n") == _RELOADS * 6
    assert '"GET /?the-last HTTP/1.1" 200' in output
    assert "late: generation 1 loaded" in output, output


def test_10_the_gateway_logs_although_its_descriptors_were_closed(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    code = """
    import os

    def close(environ):
        for number in (1, 2):
            os.close(number)
        return "closed"
    """
    closing = plain_site(tmp_path, "closing", code)
    gateway = start(neighbour, closing)
    assert ask(gateway, closing, "/close")[0] == 200
    visitor = gateway.client(neighbour.host)
    for number in range(5):
        assert visitor.get(f"/?seen={number}").status_code == 200
    assert reload(gateway, neighbour).status_code == 200
    output = gateway.output
    assert '"GET /?seen=4 HTTP/1.1" 200' in output
    assert f"{neighbour.name}: generation 2 loaded" in output, output
