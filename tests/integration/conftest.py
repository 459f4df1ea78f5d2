"""What the integration tests share: services, sites that take long to build, and logs on failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .programs import Program
from .services import PostgreSQL, postgresql
from .sites import BuiltSite, library_site, sample_site, wagtail_site

collect_ignore = ["projects"]

_HERE = Path(__file__).parent
_TIMEOUT = 1200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests longer: the first one may have to install what its sites are made of."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.timeout(_TIMEOUT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Show what the programs of a failed test have printed."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Program):
                report.sections.append((f"output of {name}", value.tail()))
    return report


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """A PostgreSQL for all tests that want one."""
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def library(postgres: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """The REST API on PostgreSQL."""
    return library_site(tmp_path_factory.mktemp("library"), postgres.create_database("library"))


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """The Wagtail site."""
    return wagtail_site(tmp_path_factory.mktemp("portal"))


@pytest.fixture(scope="module")
def guestbook(tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """The first sample, with a database that belongs to this module."""
    return sample_site(tmp_path_factory.mktemp("samples"), "guestbook")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """The other sample."""
    return sample_site(tmp_path_factory.mktemp("samples"), "shop")
