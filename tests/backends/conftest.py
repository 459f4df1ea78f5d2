from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.backends.inprocess import InProcessBackend
from gateway.sites.events import Events


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def backend(events: Events) -> AsyncIterator[InProcessBackend]:
    async with InProcessBackend(threads=2, events=events) as backend:
        yield backend
