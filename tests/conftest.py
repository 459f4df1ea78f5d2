"""What the unit tests share: a backend of small ASGI applications, configurations, a clock."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import settings
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.config import Config, FaultySite, SiteConfig
from gateway.errors import Fault
from gateway.sites.events import Cause
from gateway.sites.generation import Hung
from gateway.sites.loads import Begin
from gateway.sites.sources import Sources

# How long one example takes depends on what else the machine does.
settings.register_profile("gateway", deadline=None)
settings.load_profile("gateway")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeCode:
    """Answers with its name and number; some paths misbehave."""

    def __init__(self, backend: FakeBackend, name: str, number: int) -> None:
        self.backend = backend
        self.name = name
        self.number = number
        self.closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert not self.closed, "a generation was used after it was unloaded"
        self.backend.asked.append((self.number, scope))
        if self.number in self.backend.broken:
            raise RuntimeError("the password is open-sesame")
        match scope["path"]:
            case "/slow":
                self.backend.busy.set()
                await self.backend.release.wait()
            case "/raise":
                raise RuntimeError("the password is open-sesame")
            case "/exit":
                raise SystemExit(3)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/half":
            raise RuntimeError("in the middle")
        body = f"{self.name} {self.number}".encode()
        await send({"type": "http.response.body", "body": body})

    def in_flight(self) -> list[str]:
        return ["a request that holds open-sesame"]

    async def close(self, cause: Cause) -> None:
        assert not self.closed, "a generation was unloaded twice"
        self.closed = True
        self.backend.closed.append((self.name, self.number))
        self.backend.unloaded.set()


class FakeBackend:
    """Loads at once, unless a site is to fail (``errors``) or its load is held (``hold``).

    Generations in ``broken`` answer no request.
    """

    def __init__(self) -> None:
        self.errors: dict[str, BaseException] = {}
        self.broken: set[int] = set()
        self.loads: list[tuple[str, int]] = []
        self.configs: list[SiteConfig] = []
        self.read: Callable[[Sources | None], object] = lambda _: None
        self.closed: list[tuple[str, int]] = []
        self.asked: list[tuple[int, Scope]] = []
        self.cancelled: list[str] = []
        self.surveyed: list[str] = []
        self.busy = asyncio.Event()
        self.release = asyncio.Event()
        self.unloaded = asyncio.Event()
        self.loading: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._held: dict[str, asyncio.Event] = {}

    def hold(self, name: str) -> asyncio.Event:
        """Loads of ``name`` wait from now on until the event is set."""
        self.loading.pop(name, None)
        self._held[name] = asyncio.Event()
        return self._held[name]

    def hung(self, site: str) -> list[Hung]:
        return []

    def survivors(self, site: str) -> list[str]:
        self.surveyed.append(site)
        return []

    async def load(
        self,
        config: SiteConfig,
        number: int,
        sources: Sources | None,
        cause: Cause,
        begin: Begin,
    ) -> FakeCode:
        await begin()
        self.read(sources)
        self.loads.append((config.name, number))
        self.configs.append(config)
        self.loading[config.name].set()
        if config.name in self._held:
            try:
                await self._held[config.name].wait()
            except asyncio.CancelledError:
                self.cancelled.append(config.name)
                raise
        if config.name in self.errors:
            raise self.errors[config.name]
        return FakeCode(self, config.name, number)


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def clock() -> Clock:
    return Clock()


EntryFactory = Callable[..., SiteConfig]
ConfigFactory = Callable[..., Config]


@pytest.fixture
def entry() -> EntryFactory:
    """Makes the entry of a site; its host is ``NAME.example`` unless told otherwise."""

    def make(name: str = "shop", **fields: Any) -> SiteConfig:
        defaults: dict[str, Any] = {
            "hosts": (f"{name}.example",),
            "path": Path("/nowhere") / name,
            "wsgi": "core.wsgi:application",
            "env": {"DJANGO_SETTINGS_MODULE": "core.settings", "PASSWORD": "open-sesame"},
        }
        return SiteConfig(name, **{**defaults, **fields})

    return make


@pytest.fixture
def config(entry: EntryFactory) -> ConfigFactory:
    """Makes a configuration of entries, or of names of sites; ``faulty`` sites by name."""

    def make(*sites: SiteConfig | str, faulty: tuple[str, ...] = (), **fields: Any) -> Config:
        entries = [entry(site) if isinstance(site, str) else site for site in sites]
        faults = {
            name: (Fault(f"$.sites.{name}.path", "there is no such folder", name),)
            for name in faulty
        }
        defaults: dict[str, Any] = {
            "default_site": None,
            "source": Path("/nowhere/sites.json"),
            "watched": frozenset({Path("/nowhere/sites.json")}),
            "text": b"{}",
            "faulty": {
                name: FaultySite(name, (f"{name}.example",), found)
                for name, found in faults.items()
            },
            "faults": tuple(fault for found in faults.values() for fault in found),
        }
        return Config({site.name: site for site in entries}, **{**defaults, **fields})

    return make


@pytest.fixture
async def get(anyio_backend: str) -> AsyncIterator[Callable[..., Any]]:
    """Sends a GET request straight to an ASGI application."""

    async def send(app: ASGIApp, path: str = "/") -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            return await client.get(path)

    yield send
