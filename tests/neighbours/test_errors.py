"""What a site's exceptions and settings of the process do to others: number 9 of the issue."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..integration.actions import append as append_to
from ..integration.sites import BuiltSite
from ..integration.waiting import until
from .gateways import Start
from .hostile import plain_site
from .steady import SteadyLoad, ask, ask_at_once, try_to_ask

pytestmark = pytest.mark.timed


def test_09_an_exception_at_import_whose_text_is_an_interrupt(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(
        tmp_path,
        "hostile",
        """
        class Interrupting(Exception):
            def __str__(self):
                raise KeyboardInterrupt

        raise Interrupting
        """,
    )
    gateway = start(neighbour, hostile)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        answer = try_to_ask(gateway, hostile)
        load.goes_on()
        assert answer == 503
        assert gateway.state_of(hostile.name) == "failed"
        assert not gateway.ended


def test_09_an_exception_whose_text_takes_long(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(
        tmp_path,
        "hostile",
        """
        import time

        class Slow(Exception):
            def __str__(self):
                time.sleep(8)
                return "at last"

        def fail(environ):
            raise Slow
        """,
    )
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile) == (200, "a page")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        assert try_to_ask(gateway, hostile, "/fail", timeout=30) == 500
        load.goes_on()


def test_09_an_exception_at_import_whose_text_takes_long(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(
        tmp_path,
        "hostile",
        """
        import time

        class Slow(Exception):
            def __str__(self):
                time.sleep(6)
                return "at last"

        raise Slow
        """,
    )
    gateway = start(neighbour, hostile)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        assert try_to_ask(gateway, hostile, timeout=40) == 503
        load.goes_on()


def test_09_a_size_of_stacks_that_is_too_small_for_others(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(
        tmp_path,
        "hostile",
        """
        import threading

        threading.stack_size(32768)
        """,
    )
    append_to(
        neighbour,
        "core/views.py",
        "\nimport json\nimport time\n\n_front = front\n\n"
        "def front(request):\n"
        "    time.sleep(0.2)  # so that others need threads that are new\n"
        '    json.loads("[" * 900 + "]" * 900)\n'
        "    return _front(request)\n",
    )
    gateway = start(neighbour, hostile)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        assert try_to_ask(gateway, hostile) == 200
        answers = ask_at_once(gateway, neighbour, ["/"] * 16)
        assert answers == [200] * 16
        load.goes_on()
        assert not gateway.ended
    until(lambda: gateway.state_of(neighbour.name) == "ready", "the gateway goes on")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_a_signal_that_a_site_sends_to_its_process(
    start: Start, neighbour: BuiltSite, tmp_path: Path, name: str
) -> None:
    """In a view it ends the request, at import the load."""
    source = """
        import os
        import signal

        def fail(environ):
            os.kill(os.getpid(), signal.NAME)
        """.replace("NAME", name)
    viewing = plain_site(tmp_path, "viewing", source)
    importing = plain_site(tmp_path, "importing", f"{source}\n        fail(None)\n")
    gateway = start(neighbour, viewing, importing)
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        assert try_to_ask(gateway, viewing, "/fail") == 500
        assert try_to_ask(gateway, importing) == 503
        load.goes_on()
        assert gateway.state_of(importing.name) == "failed"
        assert try_to_ask(gateway, viewing) == 200
        assert not gateway.ended
