"""Sites whose code changes are reloaded, and none of them keeps the others from it."""

from __future__ import annotations

import asyncio
import logging
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.sites.reporting import Reporter
from gateway.upkeep.code_watch import CodeWatch

pytestmark = pytest.mark.anyio

INTERVAL = 0.01
DEADLINE = 30.0


class Watched:
    """A site whose code has changed at the first look; the second may hang until ``goes_on``."""

    def __init__(self, name: str, goes_on: threading.Event | None = None) -> None:
        self.config = SimpleNamespace(name=name)
        self.reporter = Reporter(name, {})
        self.sources = self
        self.reloaded = asyncio.Event()
        self.looks = 0
        self._goes_on = goes_on

    def changed(self) -> list[str]:
        self.looks += 1
        if self.looks == 1:
            return ["views.py"]
        if self._goes_on is not None:
            self._goes_on.wait()
        return []


def watching(*sites: Watched) -> CodeWatch:
    async def reload(site: Any) -> None:
        site.reloaded.set()

    registry: Any = SimpleNamespace(watched_sites=lambda: list(sites))
    return CodeWatch(registry, reload, interval=INTERVAL, late=INTERVAL)


async def test_a_folder_that_hangs_keeps_no_other_site_from_its_reload(
    caplog: pytest.LogCaptureFixture,
) -> None:
    goes_on = threading.Event()
    hangs, other = Watched("hangs", goes_on), Watched("other")
    async with watching(hangs, other), asyncio.timeout(DEADLINE):
        await other.reloaded.wait()
        seen = other.looks
        while other.looks < seen + 3:
            await asyncio.sleep(INTERVAL)
        assert hangs.looks == 2, "one look at a time"
        assert not hangs.reloaded.is_set()
        goes_on.set()
        await hangs.reloaded.wait()
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [text for text in warnings if text.startswith("hangs: a look at its files")] != []


async def test_a_look_that_raises_is_told_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Watched):
        def changed(self) -> list[str]:
            raise OSError("stale file handle")

    first, last = Watched("first"), Watched("last")
    async with watching(first, Broken("broken"), last), asyncio.timeout(DEADLINE):
        await first.reloaded.wait()
        await last.reloaded.wait()
    assert "stale file handle" in caplog.text
