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
