from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.backends.inprocess import InProcessBackend


@pytest.fixture
async def backend() -> AsyncIterator[InProcessBackend]:
    async with InProcessBackend(threads=2) as backend:
        yield backend
