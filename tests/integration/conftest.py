"""What the integration tests share: services, sites, a gateway, and logs on failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .programs import Program
from .servers import Gateway
from .services import PostgreSQL, postgresql
from .sites import BuiltSite, library_site, sample_site, tiny_site, wagtail_site
from .waiting import until

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


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """A site that has nothing to do with what goes wrong."""
    return tiny_site(tmp_path_factory.mktemp("healthy"), "healthy")


@pytest.fixture(scope="module")
def gateway(healthy: BuiltSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with the healthy site, and one that soon tries again what failed."""
    environ = {"GATEWAY_LOAD_RETRY": "0.1"}
    folder = tmp_path_factory.mktemp("gateway")
    with Gateway(folder, {healthy.name: healthy.entry}, environ) as running:
        yield running


@pytest.fixture
def serve(gateway: Gateway, healthy: BuiltSite) -> Iterator[Callable[[BuiltSite], None]]:
    """Adds a site to the running gateway, by editing ``sites.json``; it is gone afterwards."""

    def add(site: BuiltSite) -> None:
        gateway.write_sites({**gateway.sites, site.name: site.entry})
        until(lambda: site.name in gateway.health()["sites"], f"{site.name} is served")

    yield add
    gateway.write_sites({healthy.name: healthy.entry})
    until(lambda: list(gateway.health()["sites"]) == [healthy.name], "the other sites are gone")


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """What a tiny site that has it as ``GATE`` waits for while it is imported.

    ``actions.open_gate`` opens it.
    """
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path
