"""The gate of a site: open, paused, in maintenance."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Scope

from gateway.config.limits import Limits
from gateway.sites.events import THE_STOP
from gateway.sites.gate import OWN_PAGE, Mode, own_page
from gateway.sites.site import Site

pytestmark = pytest.mark.anyio


@pytest.fixture
def site(entry: Any, backend: Any) -> Site:
    return Site(entry("shop", limits=Limits(queue_length=3)), backend)


class Visitor:
    """A request of one who may leave; sends a body in pieces, notes what is answered."""

    def __init__(self, site: Site, *pieces: bytes, path: str = "/") -> None:
        self.status = 0
        self.asked = 0
        self.left = asyncio.Event()
        self._pieces = list(pieces) or [b""]
        scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": []}
        self.task = asyncio.create_task(site(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        self.asked += 1
        if self._pieces:
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]


async def settle() -> None:
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_comes_in_a_pause_gets_in_afterwards_and_in_order(
    site: Site, backend: Any, get: Any
) -> None:
    await get(site)
    site.gate.set(Mode.PAUSED)
    visitors = [Visitor(site, path=f"/{number}") for number in range(3)]
    await settle()
    assert (site.gate.waiting, site.in_flight, len(backend.asked)) == (3, 0, 1)
    site.gate.set(Mode.OPEN)
    await asyncio.gather(*(visitor.task for visitor in visitors))
    assert [scope["path"] for _, scope in backend.asked[1:]] == ["/0", "/1", "/2"]
    assert {visitor.status for visitor in visitors} == {200}
    assert site.gate.waiting == 0


async def test_a_cold_site_is_not_loaded_in_a_pause(site: Site, backend: Any) -> None:
    site.gate.set(Mode.PAUSED)
    visitor = Visitor(site)
    await settle()
    assert backend.loads == []
    site.gate.set(Mode.OPEN)
    await visitor.task
    assert visitor.status == 200


async def test_a_body_arrives_whole(site: Site, backend: Any) -> None:
    received = []

    class Reads:
        number = 1

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            while True:
                message = await receive()
                received.append(message["body"])
                if not message["more_body"]:
                    break
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})

        async def close(self, cause: Any) -> None:
            pass

    async def load(config: Any, number: int, sources: Any, cause: Any, begin: Any) -> Any:
        return Reads()

    backend.load = load
    site.gate.set(Mode.PAUSED)
    visitor = Visitor(site, b"a", b"b", b"c")
    await settle()
    assert visitor.asked == 1, "of a body that goes on, no more is taken in"
    site.gate.set(Mode.OPEN)
    await visitor.task
    assert received == [b"a", b"b", b"c"]


async def test_who_leaves_is_not_let_in(site: Site, backend: Any) -> None:
    site.gate.set(Mode.PAUSED)
    visitor = Visitor(site)
    await settle()
    visitor.left.set()
    await visitor.task
    assert (visitor.status, site.gate.waiting) == (0, 0)
    site.gate.set(Mode.OPEN)
    await settle()
    assert backend.loads == []


async def test_a_request_that_is_cancelled_waits_no_more(site: Site) -> None:
    site.gate.set(Mode.PAUSED)
    visitor = Visitor(site)
    await settle()
    visitor.task.cancel()
    await asyncio.wait({visitor.task})
    assert site.gate.waiting == 0


async def test_a_pause_that_lasts(site: Site, get: Any, entry: Any) -> None:
    site.config = entry("shop", limits=Limits(pause_timeout=0.02))
    site.gate.set(Mode.PAUSED)
    answer = await get(site)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["cache-control"] == "no-store"


async def test_only_so_many_wait(site: Site, get: Any) -> None:
    site.gate.set(Mode.PAUSED)
    waiting = [Visitor(site) for _ in range(3)]
    await settle()
    assert (await get(site)).status_code == 503
    site.gate.set(Mode.OPEN)
    await asyncio.gather(*(visitor.task for visitor in waiting))
    assert {visitor.status for visitor in waiting} == {200}


async def test_a_pause_that_becomes_maintenance(site: Site) -> None:
    site.gate.set(Mode.PAUSED)
    visitor = Visitor(site)
    await settle()
    site.gate.set(Mode.MAINTENANCE)
    await visitor.task
    assert visitor.status == 503


async def test_a_paused_site_that_is_removed(site: Site) -> None:
    site.gate.set(Mode.PAUSED)
    visitor = Visitor(site)
    await settle()
    await site.close(THE_STOP)
    await visitor.task
    assert visitor.status == 503


async def test_maintenance(site: Site, backend: Any, get: Any) -> None:
    site.gate.set(Mode.MAINTENANCE)
    answer = await get(site)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert "back soon" in answer.text
    assert backend.loads == []
    site.gate.set(Mode.OPEN)
    assert (await get(site)).text == "shop 1"


async def test_a_reload_goes_on_in_any_mode(site: Site, get: Any) -> None:
    await get(site)
    site.gate.set(Mode.MAINTENANCE)
    await site.reload()
    assert site.status().generation == 2
    assert (await get(site)).status_code == 503


@pytest.mark.parametrize("name", OWN_PAGE)
async def test_a_page_of_the_projects_own(
    site: Site, get: Any, entry: Any, tmp_path: Path, name: str
) -> None:
    site.config = entry("shop", path=tmp_path)
    site.gate.set(Mode.MAINTENANCE)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("<h1>Zurück um acht</h1>")
    answer = await get(site)
    assert (answer.status_code, answer.text) == (503, "<h1>Zurück um acht</h1>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["retry-after"] == "60"


def test_pages_that_are_not_used(tmp_path: Path) -> None:
    folder, page = tmp_path / "site", tmp_path / "site" / "503.html"
    assert own_page(folder) is None
    folder.mkdir()
    assert own_page(folder) is None
    (tmp_path / "secret").write_text("of somebody else")
    page.symlink_to(tmp_path / "secret")
    assert own_page(folder) is None
    page.unlink()
    page.mkdir()
    assert own_page(folder) is None
    page.rmdir()
    page.write_bytes(b"\xff")
    assert own_page(folder) is None
    page.write_bytes(b"x" * ((1 << 20) + 1))
    assert own_page(folder) is None
    page.write_text("good")
    assert own_page(folder) == "good"
    (tmp_path / "current").symlink_to(folder)
    assert own_page(tmp_path / "current") == "good"


async def test_a_site_that_is_set_aside_is_neither_loaded_nor_asked(
    site: Site, backend: Any, get: Any
) -> None:
    site.gate.set(Mode.PAUSED)
    visitor = Visitor(site)
    await settle()
    site.gate.set_aside("it ended two workers")
    await visitor.task
    await site.load()
    assert (visitor.status, backend.loads) == (503, [])
    for mode in Mode:
        site.gate.set(mode)
        page = await get(site)
        assert (page.status_code, "has crashed the server" in page.text) == (503, True)
    assert site.status().aside == "it ended two workers"
    site.gate.set(Mode.OPEN)
    await site.reload()  # by its name
    assert len(backend.loads) == 1
    assert (await get(site)).status_code == 503
    site.gate.set_aside(None)
    assert (await get(site)).status_code == 200
