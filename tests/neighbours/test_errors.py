"""What a site's exceptions and settings of the process do to others: number 9 of the issue."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from ..integration.actions import append as append_to
from ..integration.actions import reload
from ..integration.sites import BuiltSite, tiny_site
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


@pytest.mark.parametrize("wsgi", [None, "core.wsgi"])
def test_09_a_folder_that_cannot_be_entered_is_a_fault_of_its_entry(
    start: Start, neighbour: BuiltSite, tmp_path: Path, wsgi: str | None
) -> None:
    hostile = tiny_site(tmp_path, "hostile")
    hostile.entry["wsgi"] = wsgi
    gateway = start(neighbour, hostile, bounded=True)
    assert ask(gateway, hostile)[0] == 200
    for folder, text in [(hostile.folder, "entered"), (hostile.folder / "core", "looked at")]:
        folder.chmod(0)
        try:
            answer = reload(gateway, hostile)
            assert answer.status_code == 422, answer.text
            (error,) = answer.json()["errors"]
            assert error["path"].startswith("$.sites.hostile")
            assert f"cannot be {text} as user 0 (Permission denied)" in error["message"]
            assert reload(gateway, neighbour).status_code == 200
        finally:
            folder.chmod(0o755)
        assert reload(gateway, hostile).status_code == 200


def test_09_pages_of_the_gateway_when_no_file_can_be_opened(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(
        tmp_path,
        "hostile",
        """
        import os

        held = []

        def hold(environ):
            try:
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                return "all of them"

        def fail(environ):
            raise ValueError
        """,
    )
    gateway = start(neighbour, hostile)
    assert ask(gateway, neighbour)[0] == 200
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (120, 120))
    # Connections that are there already: there are no descriptors for others.
    visitor, operator = gateway.client("hostile.localhost"), gateway.operator()
    assert visitor.get("/").status_code == operator.get("/_health").status_code == 200
    assert visitor.get("/hold").text == "all of them"
    nowhere = visitor.get("/", headers={"Host": "nowhere.localhost"})
    assert (nowhere.status_code, "No site answers" in nowhere.text) == (404, True)
    broken = visitor.get("/fail")
    assert (broken.status_code, "could not be shown" in broken.text) == (500, True)
    assert operator.get("/").status_code == 200


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
