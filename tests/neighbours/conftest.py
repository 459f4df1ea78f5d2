"""A neighbour, a way to start gateways, and what they printed when a test fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..integration.sites import BuiltSite, tiny_site
from .gateways import Start

_HERE = Path(__file__).parent
_TIMEOUT = 90
_SHOWN = 4_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound each test in time: what is tested here hangs when it fails."""
    for item in items:
        if item.path.is_relative_to(_HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TIMEOUT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Show what the gateways of a failed test have printed."""
    report = yield
    start = getattr(item, "funcargs", {}).get("start")
    if report.failed and isinstance(start, Start):
        for gateway in start.gateways:
            report.sections.append(("output of a gateway", gateway.tail()[-_SHOWN:]))
    return report


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def neighbour(tmp_path: Path) -> BuiltSite:
    """The site that has nothing to do with what goes wrong."""
    return tiny_site(tmp_path, "neighbour")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts gateways that are gone at the end of the test, whatever has become of them."""
    with ExitStack() as stack:
        yield Start(tmp_path, stack)
