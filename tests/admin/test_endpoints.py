"""The admin endpoints: who may do what, and what they answer."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

import gateway
from gateway.admin import endpoints
from gateway.admin.auth import Authority
from gateway.admin.token import Token, TokenError, obtain_token
from gateway.cluster import Control, Files, Identity, Loads
from gateway.cluster.store.sqlite import SqliteStore
from gateway.cluster.store.thread import StoreThread
from gateway.config import ADMIN_HOSTS, Config
from gateway.disk.statefolder import StateFolder
from gateway.errors import ConfigError, Fault, LoadError, UnknownSiteError
from gateway.settings import Settings
from gateway.sites.gate import ModeError
from gateway.sites.registry import Registry
from gateway.sites.reloads import Reloads

pytestmark = pytest.mark.anyio

SECRET = "s3cret-token"
BEARER = {"Authorization": f"Bearer {SECRET}"}
SHELL = "$(cat .gateway/admin-token)"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


File = list[Config | ConfigError]
"""The next reading of ``sites.json`` ends in its only item."""


@pytest.fixture
def file(config: Any, entry: Any) -> File:
    return [config("shop", entry("blog", hosts=("blog.example", "*.blog.example")))]


@pytest.fixture
async def sites(file: File, backend: Any) -> AsyncIterator[Registry]:
    """A shop and a blog, cold."""
    first = file[0]
    assert isinstance(first, Config)
    async with Registry(first, backend) as registry:
        yield registry


@pytest.fixture
async def reloads(sites: Registry, file: File) -> AsyncIterator[Reloads]:
    def read(_: frozenset[str]) -> Config:
        if isinstance(file[0], ConfigError):
            raise file[0]
        return file[0]

    async with Reloads(sites, read) as reloads:
        yield reloads


@pytest.fixture
async def control(sites: Registry, reloads: Reloads, tmp_path: Path) -> AsyncIterator[Control]:
    """The only worker there is."""
    identity = Identity.mine()
    async with (
        StoreThread(lambda: SqliteStore(tmp_path / "gateway.db")) as store_thread,
        Control(
            sites,
            reloads,
            store_thread,
            identity,
            Loads(store_thread, identity.id),
            Files(StateFolder(tmp_path), "crash-"),
        ) as control,
    ):
        yield control


Connect = Callable[..., httpx.AsyncClient]


@pytest.fixture
def connect(sites: Registry, control: Control) -> Connect:
    """A client of the admin endpoints, at ``host`` and as ``peer``."""

    def make(
        host: str = "localhost:8000",
        *,
        peer: tuple[str, int] | None = ("127.0.0.1", 5),
        open_locally: bool = False,
    ) -> httpx.AsyncClient:
        app = Starlette(
            routes=endpoints.routes(),
            exception_handlers={
                ConfigError: endpoints.config_error,
                UnknownSiteError: endpoints.unknown_site,
                ModeError: endpoints.mode_error,
            },
            middleware=[Middleware(endpoints.NeverStored)],
        )
        app.state.registry, app.state.control = sites, control
        app.state.authority = Authority(
            Token(SECRET.encode(), SHELL), ADMIN_HOSTS, open_locally=open_locally
        )
        # httpx wants a peer; a Unix socket has none.
        transport = httpx.ASGITransport(app=app, client=peer)  # type: ignore[arg-type]
        return httpx.AsyncClient(transport=transport, base_url=f"http://{host}")

    return make


# Who may not

WRONG_CREDENTIALS = [
    "Bearer wrong",
    "Bearer ",
    "Bearer",
    "",
    SECRET,
    f"Basic {SECRET}",
    f"Bearer {SECRET}x",
    f"Bearer {SECRET} {SECRET}",
    "Bearer gehe\xefm",
]
PROTECTED = [
    ("GET", "/"),
    ("GET", "/_history"),
    ("POST", "/_reload"),
    ("POST", "/_reload?site=shop"),
    ("GET", "/_health/shop"),
    ("GET", "/_health/unknown"),
]


@pytest.mark.parametrize("credentials", WRONG_CREDENTIALS)
@pytest.mark.parametrize(("method", "path"), PROTECTED)
@pytest.mark.parametrize("open_locally", [False, True])
async def test_a_wrong_token_is_401_and_does_nothing(
    connect: Connect, backend: Any, method: str, path: str, credentials: str, open_locally: bool
) -> None:
    header = [(b"authorization", credentials.encode("latin-1"))]
    answer = await connect(open_locally=open_locally).request(method, path, headers=header)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "example" not in answer.text
    assert backend.loads == []


async def test_two_tokens_are_none(connect: Connect) -> None:
    headers = [("Authorization", f"Bearer {SECRET}")] * 2
    assert (await connect().get("/_health/shop", headers=headers)).status_code == 401


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_no_token_is_401_with_the_line_to_type(
    connect: Connect, method: str, path: str
) -> None:
    answer = await connect().request(method, path)
    assert answer.status_code == 401
    post = "-X POST " if method == "POST" else ""
    url = f"http://localhost:8000{path}"
    url = f"'{url}'" if "?" in url else url
    line = f'curl {post}-H "Authorization: Bearer $(cat .gateway/admin-token)" {url}'
    assert line in answer.text.splitlines()[2]
    assert SECRET not in answer.text


async def test_the_line_to_type_cannot_be_made_to_run_something_else(connect: Connect) -> None:
    query = "site=x';reboot;'$(reboot)`reboot`"
    answer = await connect().post(f"/_reload?{query}")
    line = answer.text.splitlines()[2]
    *_, url = shlex.split(line)
    assert unquote(url) == f"http://localhost:8000/_reload?{query}"
    assert line.endswith(shlex.quote(url))


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "nonsense"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "https://localhost:8000"},
        {"Origin": "http://localhost"},
        {"Origin": "http://localhost:8001"},
        {"Origin": "http://localhost:8000@evil.example"},
        {"Origin": "http://[oops"},
        {"Origin": "http://localhost:99999"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [*PROTECTED, ("GET", "/_health")])
async def test_a_foreign_origin_is_403_even_with_the_token(
    connect: Connect, backend: Any, headers: dict[str, str], method: str, path: str
) -> None:
    for client in (connect(), connect(open_locally=True)):
        for extra in ({}, BEARER):
            answer = await client.request(method, path, headers={**headers, **extra})
            assert answer.status_code == 403
            assert "shop" not in answer.text
    assert backend.loads == []


async def test_one_foreign_origin_of_two_is_enough(connect: Connect) -> None:
    own, other = ("Origin", "http://localhost:8000"), ("Origin", "http://evil.example")
    for pair in ([own, other], [other, own]):
        answer = await connect().get("/_health", headers=[*pair, *BEARER.items()])
        assert answer.status_code == 403


@pytest.mark.parametrize(
    "header",
    [
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Anything",
        "X-Real-IP",
        "Via",
    ],
)
async def test_what_a_proxy_forwards_is_not_local(connect: Connect, header: str) -> None:
    client = connect(open_locally=True)
    assert (await client.get("/", headers={header: "127.0.0.1"})).status_code == 401
    assert (await client.get("/", headers={header: ""})).status_code == 401


@pytest.mark.parametrize("peer", [("192.0.2.1", 5), ("testclient", 5), ("", 0), None])
async def test_other_peers_are_not_local(connect: Connect, peer: Any) -> None:
    assert (await connect(peer=peer, open_locally=True).get("/")).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "shop.example:8000", "localhost.evil.example"])
async def test_a_local_request_by_another_name_is_not_trusted(connect: Connect, host: str) -> None:
    assert (await connect(host, open_locally=True).get("/")).status_code == 401


async def test_local_requests_need_a_token_unless_told_otherwise(connect: Connect) -> None:
    assert (await connect().get("/_health/shop")).status_code == 401


# Who may


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST."])
async def test_open_lets_this_machine_in(connect: Connect, peer: str, host: str) -> None:
    client = connect(host, peer=(peer, 5), open_locally=True)
    assert (await client.get("/_health/shop")).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
async def test_the_token_lets_anybody_in_from_anywhere(connect: Connect, scheme: str) -> None:
    client = connect("else.example", peer=("192.0.2.1", 5))
    headers = {"Authorization": f"{scheme} {SECRET}", "X-Forwarded-For": "192.0.2.7"}
    assert (await client.get("/_health/shop", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("localhost", "http://localhost:80"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
async def test_the_own_origin_is_not_foreign(connect: Connect, host: str, origin: str) -> None:
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin", **BEARER}
    assert (await connect(host).post("/_reload", headers=headers)).status_code == 200


# Health


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
async def test_without_a_token_health_is_bare_liveness(
    connect: Connect, headers: dict[str, str]
) -> None:
    answer = await connect().get("/_health", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert (await connect().head("/_health")).status_code == 200


async def test_liveness_asks_no_cold_site(connect: Connect, reloads: Reloads, backend: Any) -> None:
    """Anybody may ask for it, again and again, and there may be thousands of sites."""
    asked = backend.surveyed  # whoever asks a site for its status
    async with connect() as client:
        for reason, said in (("SyntaxError: oops", "degraded"), (None, "ok")):
            backend.errors.clear()
            if reason:
                backend.errors["shop"] = LoadError(reason)
            await reloads.reload(["shop"])
            asked.clear()
            for _ in range(3):
                assert (await client.get("/_health")).json() == {"status": said}
            assert "blog" not in asked  # the other one is, for what this worker reports
        assert len((await client.get("/_health", headers=BEARER)).json()["sites"]) == 2
        assert "blog" in asked


async def test_health_tells_operators_of_each_site(
    connect: Connect, sites: Registry, backend: Any
) -> None:
    backend.errors["blog"] = LoadError("ImportError: no module x", "Traceback")
    for host in ("shop.example", "blog.example"):
        await sites.find(host).load()  # type: ignore[union-attr]
    answer = await connect().get("/_health", headers=BEARER)
    body = answer.json()
    assert answer.status_code == 200
    assert body["status"] == "degraded"
    assert body["version"] == gateway.__version__
    shop, blog = body["sites"]["shop"], body["sites"]["blog"]
    assert set(body) == {"status", "version", "sites"}
    assert shop["survivors"] == shop["hung"] == []
    assert set(shop) == {
        "state", "mode", "generation", "hosts", "loaded_at", "load_ms", "error", "survivors",
        "hung", "aside",
    }  # fmt: skip
    assert (shop["state"], shop["generation"], shop["error"]) == ("ready", 1, None)
    assert blog | {"load_ms": None} == {
        "state": "failed",
        "generation": 0,
        "hosts": ["blog.example", "*.blog.example"],
        "mode": "open",
        "loaded_at": None,
        "load_ms": None,
        "error": "ImportError: no module x",
        "survivors": [],
        "hung": [],
        "aside": None,
    }


async def test_faults_of_the_file_degrade_and_are_named(connect: Connect, file: File) -> None:
    fault = Fault("$.sites", "missing")
    file[0] = ConfigError([fault])
    await connect().post("/_reload", headers=BEARER)
    assert (await connect().get("/_health")).json() == {"status": "degraded"}
    body = (await connect().get("/_health", headers=BEARER)).json()
    assert body["errors"] == [{"path": "$.sites", "message": "missing"}]


async def test_health_of_one_site(connect: Connect, sites: Registry, backend: Any) -> None:
    client = connect()
    assert (await client.get("/_health/nope", headers=BEARER)).status_code == 404
    cold = await client.get("/_health/shop", headers=BEARER)
    assert (cold.status_code, cold.json()["state"]) == (200, "cold")
    backend.errors["shop"] = LoadError("ImportError", "Traceback: deep inside")
    await sites.find("shop.example").load()  # type: ignore[union-attr]
    failed = await client.get("/_health/shop", headers=BEARER)
    assert failed.status_code == 503
    assert failed.json()["traceback"] == "Traceback: deep inside"
    assert (await client.head("/_health/shop", headers=BEARER)).status_code == 503


# Reload


async def test_get_does_not_reload(connect: Connect, backend: Any) -> None:
    answer = await connect().get("/_reload", headers=BEARER)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert backend.loads == []


async def test_health_cannot_be_posted(connect: Connect) -> None:
    answer = await connect().post("/_health", headers=BEARER)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("query", ["sites=shop", "site=shop&force=1"])
async def test_an_unknown_parameter_is_not_ignored(
    connect: Connect, backend: Any, query: str
) -> None:
    answer = await connect().post(f"/_reload?{query}", headers=BEARER)
    assert answer.status_code == 400
    assert backend.loads == []


@pytest.mark.parametrize("name", ["nope", ""])
async def test_an_unknown_site_is_404(connect: Connect, backend: Any, name: str) -> None:
    answer = await connect().post(f"/_reload?site={name}", headers=BEARER)
    assert (answer.status_code, answer.json()["status"]) == (404, "unknown")
    assert backend.loads == []


async def test_a_wrong_file_is_422_with_every_fault(connect: Connect, file: File) -> None:
    faults = [Fault("$.sites.x.hosts[0]", "no host"), Fault("$.default_site", "unknown")]
    file[0] = ConfigError(faults)
    answer = await connect().post("/_reload", headers=BEARER)
    assert answer.status_code == 422
    assert answer.json() == {
        "status": "invalid",
        "errors": [
            {"path": "$.sites.x.hosts[0]", "message": "no host"},
            {"path": "$.default_site", "message": "unknown"},
        ],
    }


async def test_a_site_that_does_not_come_up_is_500(
    connect: Connect, sites: Registry, backend: Any
) -> None:
    await sites.find("shop.example").load()  # type: ignore[union-attr]
    backend.errors["shop"] = LoadError("SyntaxError")
    answer = await connect().post("/_reload", headers=BEARER)
    body = answer.json()
    assert (answer.status_code, body["status"]) == (500, "failed")
    assert body["sites"]["shop"] | {"duration_ms": 0} == {
        "outcome": "failed",
        "generation": 1,
        "duration_ms": 0,
        "error": "SyntaxError",
        "warning": None,
    }


async def test_a_named_reload_loads(connect: Connect, backend: Any) -> None:
    answer = await connect().post("/_reload?site=shop", headers=BEARER)
    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "ok")
    assert list(body["sites"]) == ["shop"]
    assert body["sites"]["shop"]["outcome"] == "loaded"
    assert backend.loads == [("shop", 1)]


# The page


async def test_the_page_says_how_to_get_in(connect: Connect) -> None:
    answer = await connect().get("/", headers=BROWSER)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "$(cat .gateway/admin-token)&quot; http://localhost:8000/" in answer.text
    assert "shop" not in answer.text


async def test_the_page_lists_the_sites(connect: Connect, sites: Registry, backend: Any) -> None:
    backend.errors["shop"] = LoadError("<script>alert(1)</script> & more")
    await sites.find("shop.example").load()  # type: ignore[union-attr]
    answer = await connect().get("/", headers=BEARER)
    assert answer.status_code == 200
    assert '<a class="host" href="http://shop.example:8000/">shop.example</a>' in answer.text
    assert '<span class="host">*.blog.example</span>' in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in answer.text
    assert "<script" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {}),
        ("GET", "/", BEARER),
        ("GET", "/_health", {}),
        ("GET", "/_health", BEARER),
        ("GET", "/_reload", {}),
        ("POST", "/_reload", BEARER),
        ("GET", "/_health/nope", BEARER),
        ("GET", "/nothing", {}),
        ("GET", "/_health/", BEARER),
    ],
)
async def test_nothing_is_ever_stored(
    connect: Connect, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = await connect().request(method, path, headers=headers)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


# The token


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


def test_a_token_that_others_can_write_is_refused(state_dir: Path) -> None:
    settings = Settings(state_dir=state_dir)
    obtain_token(settings)
    (state_dir / "admin-token").chmod(0o620)
    with pytest.raises(TokenError, match="others can write"):
        obtain_token(settings)


def test_a_link_is_no_token(state_dir: Path) -> None:
    settings = Settings(state_dir=state_dir)
    obtain_token(settings)
    (state_dir / "admin-token").rename(state_dir / "elsewhere")
    (state_dir / "admin-token").symlink_to("elsewhere")
    with pytest.raises(TokenError, match="remove it"):
        obtain_token(settings)


@pytest.mark.parametrize("content", ["", "\n", "two words", "zwei\nzeilen", "größe"])
def test_what_cannot_be_a_token_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(TokenError, match="holds no token"):
        obtain_token(Settings(admin_token_file=file))


def test_a_token_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="No such file"):
        obtain_token(Settings(admin_token_file=tmp_path / "nope"))


def test_a_state_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TokenError, match="GATEWAY_ADMIN_TOKEN"):
        obtain_token(Settings(state_dir=tmp_path / "file" / "state"))


@pytest.mark.parametrize(("remedy", "kept"), [(0, True), (1, False)])
def test_a_token_that_others_could_read_is_refused(
    state_dir: Path, remedy: int, kept: bool
) -> None:
    settings = Settings(state_dir=state_dir)
    token = obtain_token(settings)
    (state_dir / "admin-token").chmod(0o644)
    with pytest.raises(TokenError, match="others could read") as raised:
        obtain_token(settings)
    assert token.secret.decode() not in str(raised.value)
    command = re.findall(r"(?:keep|remove) it: ([^;]+)", str(raised.value))[remedy]
    subprocess.run(command, shell=True, check=True)
    assert (obtain_token(settings) == token) is kept
    assert stat.S_IMODE((state_dir / "admin-token").stat().st_mode) == 0o600


def test_the_first_start_makes_a_token_for_its_owner_only(state_dir: Path) -> None:
    with _umask(0):
        token = obtain_token(Settings(state_dir=state_dir))
    assert len(token.secret) >= 32
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((state_dir / "admin-token").stat().st_mode) == 0o600
    assert [path.name for path in state_dir.iterdir()] == ["admin-token"]
    assert obtain_token(Settings(state_dir=state_dir)) == token
    assert token.secret.decode() not in repr(token)


def test_the_command_line_finds_the_token_and_tells_no_path(
    state_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    cases = [
        (Settings(), "$(cat .gateway/admin-token)"),
        (Settings(state_dir=state_dir), '$(cat "$GATEWAY_STATE_DIR/admin-token")'),
        (Settings(admin_token_file=file), '$(cat "$GATEWAY_ADMIN_TOKEN_FILE")'),
        (Settings(admin_token=SECRET), "$GATEWAY_ADMIN_TOKEN"),
    ]
    assert [obtain_token(settings).shell for settings, _ in cases] == [line for _, line in cases]
    assert obtain_token(cases[2][0]).secret == b"from-file"
    assert obtain_token(cases[3][0]).secret == SECRET.encode()


# Modes


@pytest.mark.parametrize(
    ("actions", "status", "mode"),
    [
        (["pause"], 200, "paused"),
        (["pause", "pause"], 200, "paused"),
        (["pause", "resume"], 200, "open"),
        (["resume"], 200, "open"),
        (["maintenance"], 200, "maintenance"),
        (["pause", "maintenance"], 200, "maintenance"),
        (["maintenance", "open"], 200, "open"),
        (["pause", "open"], 200, "open"),
        (["maintenance", "pause"], 409, "maintenance"),
        (["maintenance", "resume"], 409, "maintenance"),
    ],
)
async def test_modes(
    connect: Connect, sites: Registry, actions: list[str], status: int, mode: str
) -> None:
    async with connect() as client:
        for action in actions:
            answer = await client.post(f"/_sites/shop/{action}", headers=BEARER)
        assert answer.status_code == status
        assert sites.mode_of("shop") == mode
        if status == 200:
            assert answer.json() == {"status": "ok", "mode": mode, "in_flight": 0}
        else:
            assert "the site is in maintenance" in answer.json()["error"]
        health = (await client.get("/_health", headers=BEARER)).json()
        assert (health["status"], health["sites"]["shop"]["mode"]) == ("ok", mode)
        assert health["sites"]["blog"]["mode"] == "open"
        page = (await client.get("/", headers=BEARER)).text
        assert (f">{mode}</span>" in page) is (mode != "open")
        entries = (await client.get("/_history?site=shop", headers=BEARER)).json()["entries"]
        assert len(entries) == len(actions) - (status == 409)
        assert all(entry["event"] == "mode" for entry in entries)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/_sites/nobody/pause", 404),
        ("/_sites/shop/close", 404),
        ("/_sites/shop/pause?wiat=3", 400),
        ("/_sites/shop/pause?wait=long", 400),
        ("/_sites/shop/pause?wait=-1", 400),
        ("/_sites/shop/pause?wait=nan", 400),
        ("/_sites/shop/pause?wait=1e9", 400),
        ("/_sites/shop/pause?wait=inf", 400),
        (f"/_sites/shop/pause?wait={'9' * 5000}", 400),
    ],
)
async def test_a_change_of_mode_that_is_not_understood(
    connect: Connect, sites: Registry, path: str, status: int
) -> None:
    async with connect() as client:
        assert (await client.post(path, headers=BEARER)).status_code == status
        assert (await client.get("/_sites/shop/pause", headers=BEARER)).status_code == 405
        assert (await client.post("/_sites/shop/pause")).status_code == 401
    assert sites.mode_of("shop") == "open"


async def test_a_mode_waits_for_what_is_in_flight(
    connect: Connect, sites: Registry, backend: Any, get: Any
) -> None:
    shop = sites.find("shop.example")
    slow = asyncio.create_task(get(shop, "/slow"))
    await backend.busy.wait()
    async with connect() as client:
        answer = await client.post("/_sites/shop/pause?wait=0.05", headers=BEARER)
        assert answer.json()["in_flight"] == 1
        waiting = asyncio.create_task(client.post("/_sites/shop/pause?wait=30", headers=BEARER))
        backend.release.set()
        assert (await waiting).json()["in_flight"] == 0
    assert (await slow).text == "shop 1"


@pytest.mark.parametrize(
    "limit", ["0", "1001", "-1", "+1", "1_0", " 1", "ten", "", "\u0661", "1" * 5000, "0" * 5000]
)
async def test_a_limit_of_the_history_that_is_none(connect: Connect, limit: str) -> None:
    async with connect() as client:
        answer = await client.get("/_history", params={"limit": limit}, headers=BEARER)
    assert answer.status_code == 400
    assert answer.json()["error"] == "limit is a number from 1 to 1000"
