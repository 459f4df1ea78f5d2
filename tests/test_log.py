from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# In a process of its own, because pytest puts handlers on every logger.
PROGRAM = """
import logging
from gateway import log
{configure}
with log.visible():
    logging.getLogger("gateway.site").info("shop: loaded")
logging.getLogger("gateway.site").info("not any more")
assert not logging.getLogger("gateway").handlers
"""


def logged(configure: str = "") -> list[str]:
    command = [sys.executable, "-c", PROGRAM.format(configure=configure)]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return outcome.stderr.splitlines()


def test_records_are_shown_with_the_time_when_nobody_has_configured_logging() -> None:
    (line,) = logged()
    assert line.endswith("INFO gateway.site: shop: loaded")
    assert line[:4].isdigit()


def test_a_configuration_of_ones_own_is_left_alone() -> None:
    assert logged("logging.basicConfig(level='WARNING', format='%(message)s')") == []
    both = logged("logging.basicConfig(level='INFO', format='%(message)s')")
    assert both == ["shop: loaded", "not any more"]


def test_what_is_said_of_a_request_names_it() -> None:
    (line,) = logged('log.request_id.set("3f2a")')
    assert line.endswith("INFO gateway.site: shop: loaded [request 3f2a]")


def test_formats_of_the_access_log_can_name_the_request() -> None:
    lines = logged(
        """
logging.basicConfig(level="INFO", format="%(message)s")
access = logging.getLogger("uvicorn.access")
handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("%(request_id)s: %(message)s"))
access.addHandler(handler)
access.propagate = False
log.request_id.set("3f2a")
with log.visible():
    access.info("GET /")
assert not access.filters
"""
    )
    assert lines[0] == "3f2a: GET /"


# What is said on the standard output, on the standard error output, and in two logs.
APART = """
import logging, os, subprocess, sys
from gateway import log
first = logging.getLogger("first")
first.addHandler(logging.StreamHandler(sys.stdout))
second = logging.getLogger("second")
second.addHandler(logging.StreamHandler())
streams = sys.stdout, sys.stderr
def say(when):
    print(f"print {{when}}")
    print(f"error {{when}}", file=sys.stderr)
    first.error(f"first {{when}}")
    second.error(f"second {{when}}")
with log.apart():
    assert min(sys.stdout.fileno(), sys.stderr.fileno()) >= 10
    assert not os.get_inheritable(sys.stdout.fileno())
    say("before")
    {trouble}
    say("after")
say("at the end")
assert (streams == (sys.stdout, sys.stderr)) is {put_back}
"""


def said_apart(trouble: str, *, put_back: bool) -> tuple[list[str], list[str]]:
    program = APART.format(trouble=trouble, put_back=put_back)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_what_the_gateway_says_does_not_depend_on_the_first_descriptors() -> None:
    expected = tuple(
        [f"{kind} {when}" for when in ("before", "after", "at the end") for kind in kinds]
        for kinds in (("print", "first"), ("error", "second"))
    )
    for trouble, put_back in (
        ("pass", True),
        ("os.close(1); os.close(2)", False),
        ("null = os.open(os.devnull, os.O_WRONLY); os.dup2(null, 1); os.dup2(null, 2)", False),
    ):
        assert tuple(map(sorted, said_apart(trouble, put_back=put_back))) == tuple(
            map(sorted, expected)
        ), trouble


def test_child_processes_inherit_the_first_descriptors() -> None:
    out, err = said_apart("subprocess.run('echo child; echo child >&2', shell=True)", put_back=True)
    assert "child" in out and "child" in err


def test_streams_that_were_replaced_are_left_alone() -> None:
    program = """
import io, sys
from gateway import log
sys.stdout = mine = io.StringIO()
sys.stderr.close()
with log.apart():
    assert sys.stdout is mine and sys.stderr is sys.__stderr__
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
