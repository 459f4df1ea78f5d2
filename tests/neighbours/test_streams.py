"""Slow readers hold nothing that others need: number 5 of the issue."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from ..integration.sites import BuiltSite
from .gateways import Start
from .hostile import database_site
from .steady import SteadyLoad, ask, begin_to_read

pytestmark = pytest.mark.timed

_READERS: Final = 90
"""More than there are threads (80 by default)."""
_LARGE: Final = 16 << 20
"""Bytes of a file: more than sockets on this machine hold."""


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
            readers.enter_context(begin_to_read(gateway, hostile, "/download"))
        load.goes_on(100)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
