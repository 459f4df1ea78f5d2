"""The one way for texts of a site."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

import gateway
from gateway.sites.masking import MASK
from gateway.sites.reporting import Reporter

SECRET = "open-sesame"
NO_TEXT_OF_A_SITE = {
    "admin/endpoints.py", "admin/token.py", "admin/token_watch.py", "cluster/blame.py",
    "cluster/control.py", "cluster/crashes.py", "cluster/evidence.py", "cluster/loads.py",
    "cluster/modes.py",
    "cluster/store/thread.py", "config/file.py", "disk/statefolder.py", "disk/trustedfolder.py",
    "execution/hangs.py", "execution/pool.py", "execution/wsgi/traffic.py",
    "front/stalls.py", "log.py",
    "memory/collector.py", "protocol.py", "sites/events.py",
    "sites/registry.py", "sites/reporting.py", "upkeep/code_watch.py", "upkeep/file_watch.py",
    "upkeep/idle.py", "upkeep/selfwatch.py", "upkeep/stacks.py",
}  # fmt: skip
"""What has a logger of its own: for settings, files and errors of the gateway, and numbers."""


@pytest.fixture
def reporter() -> Reporter:
    return Reporter("shop", {"PASSWORD": SECRET, "ENVIRONMENT": "production"})


def test_the_record_begins_with_the_site_and_holds_no_secret(
    reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    log = reporter.logger("gateway.wsgi")
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("in %s with %s", "production", SECRET)
    (record,) = caplog.records
    assert record.name == "gateway.wsgi"
    assert record.filename == Path(__file__).name
    assert record.getMessage().startswith(f"shop: in production with {MASK}\nTraceback ")
    assert record.getMessage().endswith(f"ValueError: {MASK}")
    assert (record.exc_info, SECRET in repr(vars(record))) == (None, False)


def test_an_error_can_be_given(reporter: Reporter, caplog: pytest.LogCaptureFixture) -> None:
    reporter.logger("gateway.site").error("failed", exc_info=ValueError(SECRET))
    assert caplog.messages == [f"shop: failed\nValueError: {MASK}"]


def test_what_nobody_wants_to_read_is_not_made(reporter: Reporter) -> None:
    log = reporter.logger("gateway.site")
    log.logger.setLevel(logging.ERROR)
    try:
        log.info("%s", "too", "many")  # would raise
    finally:
        log.logger.setLevel(logging.NOTSET)


def test_who_handles_texts_of_sites_has_no_other_logger() -> None:
    root = Path(gateway.__file__).parent
    having = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"^import logging|getLogger", path.read_text(), re.M)
    }
    assert {name for name in having if not name.startswith("namespace/")} <= NO_TEXT_OF_A_SITE
