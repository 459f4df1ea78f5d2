"""The application as a whole: the way of a request, the start and the end."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from gateway.main import PlainStartFailure, create_app
from gateway.settings import Settings

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent
BEARER = {"Authorization": "Bearer s3cret"}

SITE = """
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.environ['NAME']} {environ['PATH_INFO']}".encode()]
"""


def write_sites(folder: Path, **sites: dict[str, Any]) -> None:
    entries: dict[str, Any] = {}
    for name, more in sites.items():
        path = folder / name
        path.mkdir(exist_ok=True)
        (path / "app.py").write_text(SITE)
        entries[name] = {
            "hosts": [f"{name}.example"],
            "path": name,
            "wsgi": "app",
            "env": {"NAME": name},
            **more,
        }
    (folder / "sites.json").write_text(json.dumps({"sites": entries}))


@asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[None]:
    """What a server does around the requests (ASGI lifespan)."""
    to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    task = asyncio.ensure_future(app({"type": "lifespan"}, to_app.get, from_app.put))  # type: ignore[arg-type]
    to_app.put_nowait({"type": "lifespan.startup"})
    message = await from_app.get()
    if message["type"] != "lifespan.startup.complete":
        await asyncio.wait({task})
        raise StartFailedError(message["message"], task.exception())
    try:
        yield
    finally:
        to_app.put_nowait({"type": "lifespan.shutdown"})
        assert await from_app.get() == {"type": "lifespan.shutdown.complete"}
        await task


class StartFailedError(Exception):
    """The message for the operator, and what the server would print beside it."""


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(**more: Any) -> Settings:
        defaults: dict[str, Any] = {
            "sites": tmp_path / "sites.json",
            "state_dir": tmp_path / "state",
            "admin_token": "s3cret",
        }
        return Settings(**{**defaults, **more})

    return make


@pytest.fixture
async def client(tmp_path: Path, settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running gateway with the sites ``shop`` and ``blog``."""
    write_sites(tmp_path, shop={}, blog={"hosts": ["blog.example", "*.blog.example"]})
    app = create_app(settings(admin_hosts="gateway.example"))
    async with running(app), connected(app) as client:
        yield client


def connected(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost")


# The start


async def test_a_start_without_a_file_ends_with_the_reason_alone(settings: Any) -> None:
    with pytest.raises(StartFailedError) as failure:
        async with running(create_app(settings())):
            pass
    message, error = failure.value.args
    assert message.startswith("sites.json cannot be used:\n  $: there is no file")
    assert "Traceback" not in message
    assert error is None


async def test_a_wrong_variable_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_THREADS", "many")
    with pytest.raises(StartFailedError, match="GATEWAY_THREADS"):
        async with running(create_app()):
            pass


async def test_a_bug_at_the_start_keeps_its_traceback() -> None:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("a bug")
        yield

    with pytest.raises(StartFailedError) as failure:
        async with running(PlainStartFailure(Starlette(lifespan=lifespan))):
            pass
    message, error = failure.value.args
    assert "Traceback" in message
    assert isinstance(error, RuntimeError)


def test_uvicorn_shows_the_faults_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "sites.json").write_text('{"sites": []}')
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "gateway.main:app", "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "$.sites" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_server_that_does_not_run_the_lifespan_is_told_so(settings: Any) -> None:
    async with connected(create_app(settings())) as client:
        assert (await client.get("/")).status_code == 503


async def test_a_broken_file_is_answered_by_the_last_good_copy(
    tmp_path: Path, settings: Any
) -> None:
    write_sites(tmp_path, shop={})
    async with running(create_app(settings())):
        pass
    (tmp_path / "sites.json").write_text("{")
    app = create_app(settings())
    async with running(app), connected(app) as client:
        answer = await client.get("/", headers={"Host": "shop.example"})
        assert answer.text == "shop /"
        assert (await client.get("/_health")).json() == {"status": "degraded"}


# The way of a request


@pytest.mark.parametrize(
    "hosts", [[], [""], ["a b"], ["shop.example", "shop.example"], ["shop.example", "localhost"]]
)
async def test_an_unclear_host_is_400(client: httpx.AsyncClient, hosts: list[str]) -> None:
    request = client.build_request("GET", "/_health")
    kept = [(name, value) for name, value in request.headers.raw if name.lower() != b"host"]
    request.headers = httpx.Headers([*kept, *((b"Host", host.encode()) for host in hosts)])
    assert (await client.send(request)).status_code == 400


@pytest.mark.parametrize("path", ["/", "/_reload", "/_health/shop", "/_health/", "/%5Fhealth/x"])
async def test_a_host_that_no_site_serves_learns_nothing(
    client: httpx.AsyncClient, path: str
) -> None:
    headers = {"Host": "nobody.example", **BEARER}
    answer = await client.get(path, headers=headers)
    assert answer.status_code == 404
    assert "No site answers to this host" in answer.text
    assert "shop" not in answer.text
    assert (await client.post("/_reload", headers=headers)).status_code == 404


async def test_a_host_that_no_site_serves_is_told_bare_liveness(client: httpx.AsyncClient) -> None:
    headers = {"Host": "10.0.0.7:8000"}
    assert (await client.get("/_health", headers=headers)).json() == {"status": "ok"}
    assert (await client.post("/_health", headers=headers)).status_code == 405
    detailed = await client.get("/_health", headers={**headers, **BEARER})
    assert list(detailed.json()["sites"]) == ["shop", "blog"]


@pytest.mark.parametrize("path", ["/", "/_health", "/_health/shop", "/_reload"])
@pytest.mark.parametrize("headers", [{}, BEARER])
async def test_no_path_of_a_site_is_shadowed(
    client: httpx.AsyncClient, path: str, headers: dict[str, str]
) -> None:
    answer = await client.get(path, headers={"Host": "shop.example", **headers})
    assert answer.text == f"shop {path}"


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("shop.example", "shop /"),
        ("SHOP.example.:8000", "shop /"),
        ("blog.example", "blog /"),
        ("a.b.blog.example", "blog /"),
    ],
)
async def test_a_request_comes_to_its_site(client: httpx.AsyncClient, host: str, text: str) -> None:
    assert (await client.get("/", headers={"Host": host})).text == text


@pytest.mark.parametrize(
    ("headers", "status"),
    [([("X-A", "1\x002")], 400), ([("X-A", "1")] * 100, 431), ([("X-A", "1" * 40_000)], 431)],
)
async def test_a_head_that_is_not_clean_is_refused(
    client: httpx.AsyncClient, headers: list[tuple[str, str]], status: int
) -> None:
    answer = await client.get("/", headers=[("Host", "shop.example"), *headers])
    assert answer.status_code == status
    assert answer.headers["connection"] == "close"
    assert "The request was refused" in answer.text


@pytest.fixture
async def proxied(tmp_path: Path, settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is a trusted proxy on this machine; the gateway is open to the machine."""
    write_sites(tmp_path, shop={}, blog={})
    app = create_app(settings(trusted_proxies="127.0.0.1", admin_open=True))
    async with running(app), connected(app) as client:
        yield client


FOR_ANOTHER_SITE = [
    {"Host": "shop.example", "X-Forwarded-Host": "blog.example"},
    {"Host": "shop.example", "Forwarded": "for=203.0.113.9;host=blog.example"},
]


@pytest.mark.parametrize("headers", FOR_ANOTHER_SITE, ids=str)
async def test_a_trusted_proxy_says_which_site_where_it_may(
    tmp_path: Path, settings: Any, headers: dict[str, str]
) -> None:
    write_sites(tmp_path, shop={}, blog={})
    app = create_app(settings(trusted_proxies="127.0.0.1", trust_forwarded_host=True))
    async with running(app), connected(app) as client:
        assert (await client.get("/", headers=headers)).text == "blog /"


@pytest.mark.parametrize("headers", FOR_ANOTHER_SITE, ids=str)
async def test_no_proxy_says_which_site_unless_it_may(
    proxied: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await proxied.get("/", headers=headers)).text == "shop /"


async def test_nobody_else_says_which_site(client: httpx.AsyncClient) -> None:
    headers = {"Host": "shop.example", "X-Forwarded-Host": "blog.example"}
    assert (await client.get("/", headers=headers)).text == "shop /"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost", "X-Forwarded-Host": "localhost"},
        {"Host": "localhost", "Forwarded": "for=127.0.0.1;host=localhost"},
        {"Host": "localhost", "X-Forwarded-For": "127.0.0.1"},
        {"Host": "localhost", "X-Real-IP": "127.0.0.1"},
    ],
    ids=str,
)
async def test_what_a_proxy_forwards_needs_the_token(
    proxied: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """Even where this machine needs none, and the proxy says that it is for this machine."""
    assert (await proxied.get("/", headers={"Host": "localhost"})).status_code == 200
    assert (await proxied.get("/", headers=headers)).status_code == 401
    assert (await proxied.post("/_reload", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "shop.example", "X-Forwarded-Host": "localhost"},
        {"Host": "shop.example", "Forwarded": "for=127.0.0.1;host=localhost"},
    ],
    ids=str,
)
async def test_a_proxy_that_names_this_machine_needs_the_token(
    tmp_path: Path, settings: Any, headers: dict[str, str]
) -> None:
    write_sites(tmp_path, shop={}, blog={})
    proxy = {"trusted_proxies": "127.0.0.1", "trust_forwarded_host": True, "admin_open": True}
    app = create_app(settings(**proxy))
    async with running(app), connected(app) as client:
        assert (await client.get("/", headers={"Host": "localhost"})).status_code == 200
        assert (await client.get("/", headers=headers)).status_code == 401
        assert (await client.post("/_reload", headers=headers)).status_code == 401


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]", "gateway.example"])
async def test_admin_hosts_are_for_operators(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/", headers={"Host": host})).status_code == 401
    assert (await client.get("/_health/nope", headers={"Host": host})).status_code == 401
    assert (await client.get("/nothing", headers={"Host": host})).status_code == 404
    assert (await client.get("/", headers={"Host": host, **BEARER})).status_code == 200


async def test_a_reload_serves_new_code(client: httpx.AsyncClient, tmp_path: Path) -> None:
    shop = {"Host": "shop.example"}
    assert (await client.get("/", headers=shop)).text == "shop /"
    (tmp_path / "shop" / "app.py").write_text(SITE.replace("NAME']}", "NAME']} anew"))
    assert (await client.post("/_reload", headers=BEARER)).json()["status"] == "ok"
    assert (await client.get("/", headers=shop)).text == "shop anew /"


@pytest.mark.parametrize("host", [b"shop.example", b"localhost", b"nobody.example"])
async def test_websockets_are_refused(settings: Any, tmp_path: Path, host: bytes) -> None:
    write_sites(tmp_path, shop={})
    app = create_app(settings())
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async with running(app):
        scope = {"type": "websocket", "path": "/", "headers": [(b"host", host)]}
        await app(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]
