"""A site whose code does not go after a reload is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .actions import front, reload
from .cache import virtual_environment
from .servers import PROTOCOL, Gateway
from .sites import OTHER_DJANGO, BuiltSite, tiny_site

SCHEDULER = """
from apscheduler.schedulers.background import BackgroundScheduler

scheduler = BackgroundScheduler()
scheduler.add_job(lambda: None, "interval", hours=1)
scheduler.start()
"""


@pytest.fixture
def scheduled(tmp_path: Path) -> Iterator[tuple[Gateway, BuiltSite]]:
    """A site that starts a scheduler and never stops it, and may have two of them too many."""
    venv = virtual_environment([f"django~={OTHER_DJANGO}.0", "APScheduler~=3.11.0"])
    site = tiny_site(tmp_path, "scheduled")
    views = site.folder / "core/views.py"
    views.write_text(views.read_text() + SCHEDULER)
    site = BuiltSite(site.name, {**site.entry, "venv": str(venv), "limits": {"max_survivors": 2}})
    home = tmp_path / "gateway"
    home.mkdir()
    with Gateway(home, {site.name: site.entry}, options=PROTOCOL) as gateway:
        yield gateway, site


def test_a_scheduler_that_goes_on_is_named_and_refused_past_the_limit(
    scheduled: tuple[Gateway, BuiltSite],
) -> None:
    gateway, site = scheduled
    assert front(gateway, site).status_code == 200
    for _ in range(2):
        assert reload(gateway, site).status_code == 200
    refused = reload(gateway, site)
    assert refused.status_code == 500
    reason = refused.json()["sites"][site.name]["error"]
    assert "2 of its unloaded generations are still in memory (max_survivors is 2)" in reason
    assert 'thread "APScheduler", ' in reason
    assert "atexit" in reason
    health = gateway.health()["sites"][site.name]
    assert [line.partition(":")[0] for line in health["survivors"]] == [
        "generation 1",
        "generation 2",
    ]
    assert all("apscheduler/schedulers/" in line for line in health["survivors"])
    assert front(gateway, site).json()["site"] == site.name
