"""Slow readers hold nothing that others need: number 5 of the issue."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from ..integration.servers import Gateway
from ..integration.sites import BuiltSite
from .gateways import Start
from .hostile import database_site
from .steady import PROMPTLY, SteadyLoad, ask

pytestmark = pytest.mark.timed

_READERS: Final = 90
"""More than there are threads (80 by default)."""
_LARGE: Final = 16 << 20
"""Bytes of a file: more than sockets on this machine hold."""


def _begin_to_read(gateway: Gateway, site: BuiltSite, path: str) -> socket.socket:
    """Ask for a page, and take the first bytes of the answer, and no more."""
    reader = socket.socket()
    reader.settimeout(PROMPTLY)
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", gateway.port))
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode())
    return reader


def test_05_clients_that_do_not_read_a_stream_after_a_query(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(_LARGE)
    hostile = database_site(
        tmp_path,
        "hostile",
        f"""
        from django.db import connection
        from django.http import FileResponse

        def download(request):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            return FileResponse(open({str(large)!r}, "rb"))
        """,
        urls=("download",),
    )
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile)[0] == 200
    with ExitStack() as readers, SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        for _ in range(_READERS):
            readers.enter_context(_begin_to_read(gateway, hostile, "/download"))
        load.goes_on(100)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
