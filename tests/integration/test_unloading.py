"""Reloads leave nothing in memory, and a site whose code does not go is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .actions import front, reload
from .cache import virtual_environment
from .servers import PROTOCOL, Gateway
from .services import PostgreSQL
from .sites import OTHER_DJANGO, BuiltSite, tiny_site, wagtail_site
from .soak import BATCH, native_sites, soak

pytestmark = pytest.mark.timed

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


def test_reloads_with_native_packages_beside_a_neighbour_leave_nothing(
    postgres: PostgreSQL, tmp_path: Path
) -> None:
    site, neighbour = native_sites(tmp_path, postgres)
    home = tmp_path / "gateway"
    home.mkdir()
    entries = {each.name: each.entry for each in (site, neighbour)}
    with Gateway(home, entries, options=PROTOCOL) as gateway:
        course = soak(gateway, site, [neighbour], BATCH)  # it waits until all are gone
        assert course.lost == []
        assert course.answers > BATCH
        for each in (site, neighbour):
            assert front(gateway, each).json() == {"site": each.name, "text": "12.50 EUR"}


def test_reloads_of_wagtail_leave_nothing(tmp_path: Path) -> None:
    site = wagtail_site(tmp_path)
    home = tmp_path / "gateway"
    home.mkdir()
    with Gateway(home, {site.name: site.entry}, options=PROTOCOL) as gateway:
        course = soak(gateway, site, [], 3, batch=3)
        assert course.lost == []
        assert course.answers > 3
