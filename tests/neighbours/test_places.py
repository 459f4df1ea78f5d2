"""Places and threads are given back whatever raises: numbers 1 to 4 of the issue."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from ..integration.actions import ask as send
from ..integration.actions import reload
from ..integration.sites import BuiltSite
from ..integration.waiting import until
from .gateways import Start, without_threads
from .hostile import append, database_site, meeting_site, plain_site
from .steady import SteadyLoad, ask, ask_at_once, meet, try_to_ask

pytestmark = pytest.mark.timed

_FEW: int = 8
"""Threads of a gateway whose every place is to be counted."""
_MOST: int = 6
"""Those of them that one generation may have: not the last of its site, nor the last eighth."""


def test_01_a_folder_that_cannot_be_entered(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(tmp_path, "hostile")
    gateway = start(neighbour, hostile, bounded=True)
    assert ask(gateway, hostile) == (200, "a page")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        hostile.folder.chmod(0)
        try:
            try_to_ask(gateway, hostile)
            load.goes_on()
        finally:
            hostile.folder.chmod(0o755)
        assert ask(gateway, hostile) == (200, "a page")
        load.goes_on()


def test_02_threads_that_cannot_be_started(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(
        tmp_path,
        "hostile",
        """
        import time

        def doze(environ):
            time.sleep(0.2)
            return "slept"
        """,
    )
    meeting = meeting_site(tmp_path)
    trouble = tmp_path / "no-threads"
    environ = without_threads(tmp_path, trouble)
    gateway = start(neighbour, hostile, meeting, threads=_FEW, environ=environ)
    assert ask(gateway, hostile)[0] == 200
    assert ask(gateway, meeting)[0] == 200
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        trouble.touch()
        ask_at_once(gateway, hostile, ["/doze"] * 3 * _FEW)
        trouble.unlink()
        load.goes_on()
    # As many requests as there are threads run at the same time again.
    meet(gateway, meeting, _MOST)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()


def test_03_jobs_that_are_cancelled_before_a_thread_takes_them(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    # Its connections take long to close, which needs all threads and no place with the governor.
    closing = tmp_path / "closing"
    slow = database_site(
        tmp_path,
        "slow",
        f"""
        import threading
        import time
        from django.db import connections

        together = threading.Barrier({_MOST})

        def meet(request):
            together.wait(5)
            return HttpResponse("met")

        def close_slowly():
            with open({str(closing)!r}, "a") as file:
                file.write("1")
            time.sleep(3)

        connections.close_all = close_slowly
        """,
        urls=("meet",),
        drain_timeout=1,
    )
    dozing = plain_site(
        tmp_path,
        "dozing",
        """
        import time

        def doze(environ):
            time.sleep(0.1)
            return "slept"
        """,
        drain_timeout=0.1,
        probe_timeout=5,
    )
    dozing = BuiltSite(dozing.name, {**dozing.entry, "probe": False})
    slow = BuiltSite(slow.name, {**slow.entry, "probe": False})
    meeting = meeting_site(tmp_path)
    gateway = start(neighbour, slow, dozing, meeting, threads=_FEW)
    assert ask(gateway, meeting)[0] == 200
    for _ in range(3):  # so that the next ones are expected to block
        assert ask(gateway, dozing, "/doze")[0] == 200
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        assert ask_at_once(gateway, slow, ["/meet"] * _MOST) == [200] * _MOST
        before = len(closing.read_text()) if closing.exists() else 0
        assert reload(gateway, slow).status_code == 200
        until(
            lambda: closing.exists() and len(closing.read_text()) >= before + _MOST - 2,
            "the threads close connections",
        )
        # Admitted while no thread is free, and unloaded before one is.
        with ExitStack() as clients:
            for _ in range(2 * _FEW):
                clients.enter_context(send(gateway, dozing.host, "GET /doze"))
            assert reload(gateway, dozing).status_code == 200
        load.goes_on()
    meet(gateway, meeting, _MOST)


def test_04_an_exception_that_comes_late(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    raised = tmp_path / "raised"
    hostile = plain_site(
        tmp_path,
        "hostile",
        f"""
        import ctypes
        import threading
        import time

        def late(environ):
            worker = ctypes.c_ulong(threading.get_ident())

            def raise_there():
                time.sleep(0.5)
                raising = ctypes.pythonapi.PyThreadState_SetAsyncExc
                assert raising(worker, ctypes.py_object(TimeoutError)) == 1
                open({str(raised)!r}, "w").close()

            threading.Thread(target=raise_there, daemon=True).start()
            return "answered"
        """,
    )
    gateway = start(neighbour, hostile)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
    # In a quiet moment: amid a request of the neighbour, Python itself would give it to that.
    assert ask(gateway, hostile, "/late") == (200, "answered")
    until(raised.exists, "the exception was raised")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
    assert ask(gateway, hostile) == (200, "a page")


def test_04_an_exit_that_closing_a_connection_raises(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = database_site(tmp_path, "hostile", "")
    append(
        hostile,
        "core/views.py",
        """
        import sys
        from django.db import connections

        connections.close_all = lambda: sys.exit(1)
        """,
    )
    meeting = meeting_site(tmp_path)
    # With as many seats as threads, the next site takes that of the hostile one.
    gateway = start(neighbour, hostile, meeting, threads=4)
    assert ask(gateway, meeting)[0] == 200
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        for _ in range(3):
            assert try_to_ask(gateway, hostile) == 200
            load.goes_on()
    meet(gateway, meeting, 2)
