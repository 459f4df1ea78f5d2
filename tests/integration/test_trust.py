"""Who may do what, asked from outside: through a real nginx, and straight from this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import httpx
import pytest

from .clients import client_for, raw_request
from .servers import Gateway
from .services import nginx
from .sites import BuiltSite, tiny_site

NGINX: Final = {
    "nginx that passes the host on": "proxy_set_header Host $host;",
    "nginx with nothing set": "",
    "nginx that says whom it forwards for": "proxy_set_header Host $host;"
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    "proxy_set_header X-Forwarded-Proto $scheme;",
}
DIRECTLY: Final = "no proxy"
DOORS: Final = (DIRECTLY, *NGINX)
ADMIN_HOSTS: Final = ("localhost", "LOCALHOST", "localhost.", "localhost:80", "127.0.0.1", "[::1]")
FORWARDED: Final = {
    "nothing": {},
    "X-Forwarded-For": {"X-Forwarded-For": "127.0.0.1"},
    "X-Forwarded-For twice": {"X-Forwarded-For": "127.0.0.1, 127.0.0.1"},
    "X-Forwarded-Host": {"X-Forwarded-Host": "localhost"},
    "X-Forwarded-Proto": {"X-Forwarded-Proto": "https"},
    "X-Real-IP": {"X-Real-IP": "127.0.0.1"},
    "Forwarded": {"Forwarded": "for=127.0.0.1;host=localhost"},
    "Via": {"Via": "1.1 localhost"},
}
WRONG_CREDENTIALS: Final = {
    "another token": "Bearer not-the-token",
    "a longer token": "Bearer {token}x",
    "a shorter token": "Bearer {token:.10}",
    "no token": "Bearer",
    "another scheme": "Basic {token}",
    "no scheme": "{token}",
}
MALFORMED: Final = {
    "none": "",
    "an empty one": "Host:\n",
    "two": "Host: secret-shop.localhost\nHost: localhost\n",
    "the same twice": "Host: localhost\nHost: localhost\n",
    "a space": "Host: local host\n",
    "an empty label": "Host: a..localhost\n",
    "a half bracket": "Host: [::1\n",
    "a port that is none": "Host: localhost:http\n",
    "a path": "Host: localhost/_health\n",
    "a user": "Host: operator@localhost\n",
    "bytes that are no text": "Host: \xff\xfe.localhost\n",
}

Enter = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """A site whose name nobody is told, and that has a page at ``/_health`` itself."""
    return tiny_site(tmp_path_factory.mktemp("site"), "secret-shop")


@pytest.fixture(scope="module")
def gateway(site: BuiltSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """As it is without any settings."""
    with Gateway(tmp_path_factory.mktemp("closed"), {site.name: site.entry}) as running:
        assert running.client(site.host).get("/").status_code == 200
        yield running


@pytest.fixture(scope="module")
def open_gateway(site: BuiltSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """As developers have it."""
    environ = {"GATEWAY_ADMIN_OPEN": "1"}
    with Gateway(tmp_path_factory.mktemp("open"), {site.name: site.entry}, environ) as running:
        yield running


@pytest.fixture(scope="module")
def enter(gateway: Gateway) -> Iterator[Enter]:
    """Makes clients that reach the gateway through one of the doors."""
    ports = {DIRECTLY: gateway.port}
    with ExitStack() as stack:

        def through(door: str, host: str, headers: dict[str, str] | None = None) -> httpx.Client:
            if door not in ports:
                ports[door] = stack.enter_context(nginx(gateway.port, NGINX[door]))
            return stack.enter_context(client_for(host, ports[door], headers))

        yield through


def assert_told_nothing(response: httpx.Response, gateway: Gateway, site: BuiltSite) -> None:
    """No answer to a stranger names a site, the token, or a path.

    It may repeat what the stranger has asked for, and must not tell whether that exists.
    """
    text = response.text + str(response.headers)
    for asked in (f"/_health/{site.name}", f"site={site.name}"):
        if asked in str(response.request.url):
            text = text.replace(asked, "")
    for secret in (site.name, gateway.token, str(gateway.folder), str(site.folder), "generation"):
        assert secret not in text, text


def assert_stranger(client: httpx.Client, gateway: Gateway, site: BuiltSite) -> None:
    """Bare liveness, and nothing else, is what this client gets; and nothing has changed."""
    before = gateway.health()
    liveness = client.get("/_health")
    assert liveness.status_code == 200
    assert liveness.json() == {"status": "ok"}
    known, unknown = [
        [
            client.get("/"),
            client.get("/", headers={"Accept": "text/html"}),
            client.get(f"/_health/{name}"),
            client.post("/_reload", params={"site": name}),
        ]
        for name in (site.name, "no-such-site")
    ]
    for one, other in zip(known, unknown, strict=True):
        assert one.status_code == other.status_code == 401, one.text
        assert_told_nothing(one, gateway, site)
        assert one.text.replace(site.name, "no-such-site") == other.text
    reload = client.post("/_reload")
    assert reload.status_code == 401
    assert 'curl -X POST -H "Authorization: Bearer $(' in reload.text
    assert_told_nothing(reload, gateway, site)
    assert gateway.health() == before


@pytest.mark.parametrize("host", ADMIN_HOSTS)
@pytest.mark.parametrize("door", DOORS)
def test_the_name_of_this_machine_opens_nothing(
    gateway: Gateway, site: BuiltSite, enter: Enter, door: str, host: str
) -> None:
    assert_stranger(enter(door, "localhost", {"Host": host}), gateway, site)


@pytest.mark.parametrize("headers", FORWARDED.values(), ids=FORWARDED)
@pytest.mark.parametrize("door", DOORS)
def test_a_forged_address_opens_nothing(
    gateway: Gateway, site: BuiltSite, enter: Enter, door: str, headers: dict[str, str]
) -> None:
    assert_stranger(enter(door, "localhost", headers), gateway, site)


@pytest.mark.parametrize("credentials", WRONG_CREDENTIALS.values(), ids=WRONG_CREDENTIALS)
@pytest.mark.parametrize("door", [DIRECTLY, *list(NGINX)[:1]])
def test_wrong_credentials_open_nothing(
    gateway: Gateway, site: BuiltSite, enter: Enter, door: str, credentials: str
) -> None:
    headers = {"Authorization": credentials.format(token=gateway.token)}
    assert_stranger(enter(door, "localhost", headers), gateway, site)


def test_two_credentials_open_nothing(gateway: Gateway) -> None:
    lines = f"Authorization: Bearer {gateway.token}\n" * 2
    answer = raw_request(gateway.port, f"POST /_reload HTTP/1.1\nHost: localhost\n{lines}\n")
    assert answer.startswith("HTTP/1.1 401 ")


@pytest.mark.parametrize("door", DOORS)
def test_the_token_opens_every_door(
    gateway: Gateway, site: BuiltSite, enter: Enter, door: str
) -> None:
    operator = enter(door, "localhost", {"Authorization": f"Bearer {gateway.token}"})
    assert list(operator.get("/_health").json()["sites"]) == [site.name]
    assert operator.get(f"/_health/{site.name}").json()["state"] == "ready"
    assert site.host in operator.get("/").text
    before = gateway.health(site.name)["generation"]
    assert operator.post("/_reload").json()["status"] == "ok"
    assert gateway.health(site.name)["generation"] == before + 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://secret-shop.localhost"},
        {"Origin": "https://localhost"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("who", ["a stranger", "an operator", "a developer"])
def test_a_page_of_another_origin_is_refused(
    gateway: Gateway, open_gateway: Gateway, who: str, headers: dict[str, str]
) -> None:
    running = open_gateway if who == "a developer" else gateway
    client = running.operator() if who == "an operator" else running.client("localhost")
    before = running.health()
    for response in (
        client.post("/_reload", headers=headers),
        client.get("/", headers=headers),
        client.get("/_health/secret-shop", headers=headers),
    ):
        assert response.status_code == 403, response.text
    assert running.health() == before


def test_a_page_of_the_gateway_itself_is_not_refused(gateway: Gateway) -> None:
    headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert gateway.operator().post("/_reload", headers=headers).status_code == 200


def test_an_open_gateway_lets_this_machine_in(open_gateway: Gateway, site: BuiltSite) -> None:
    developer = open_gateway.client("localhost")
    assert list(developer.get("/_health").json()["sites"]) == [site.name]
    assert site.host in developer.get("/").text
    assert developer.post("/_reload").status_code == 200


@pytest.mark.parametrize("name", [name for name in FORWARDED if name != "nothing"])
def test_an_open_gateway_is_not_open_to_what_a_proxy_forwards(
    open_gateway: Gateway, site: BuiltSite, name: str
) -> None:
    client = open_gateway.client("localhost", FORWARDED[name])
    assert_stranger(client, open_gateway, site)


@pytest.mark.parametrize("door", ["nginx with nothing set", "nginx that says whom it forwards for"])
def test_an_open_gateway_is_not_open_to_whom_a_proxy_names(
    open_gateway: Gateway, site: BuiltSite, door: str
) -> None:
    forged = {"X-Forwarded-For": "127.0.0.1"}
    with (
        nginx(open_gateway.port, NGINX[door]) as port,
        client_for("localhost", port, forged) as client,
    ):
        assert_stranger(client, open_gateway, site)


def test_an_open_gateway_is_not_open_on_a_name_that_points_here(
    open_gateway: Gateway, site: BuiltSite
) -> None:
    rebound = open_gateway.client("rebound.example")
    assert rebound.get("/_health").json() == {"status": "ok"}
    for response in (rebound.post("/_reload"), rebound.get("/"), rebound.get("/_health/x")):
        assert response.status_code == 404
        assert_told_nothing(response, open_gateway, site)


@pytest.mark.parametrize("lines", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("path", ["/", "/_health"])
def test_a_request_that_is_not_for_one_host_is_refused(
    gateway: Gateway, path: str, lines: str
) -> None:
    answer = raw_request(gateway.port, f"GET {path} HTTP/1.1\n{lines}Connection: close\n\n")
    assert answer.startswith("HTTP/1.1 400 "), answer[:500]
    assert "secret-shop" not in answer


@pytest.mark.parametrize(
    "host", ["unknown.example", "secret-shop.localhost.evil.example", "x.localhost", "203.0.113.9"]
)
def test_a_host_of_no_site_gets_a_page_that_names_none(
    gateway: Gateway, site: BuiltSite, host: str
) -> None:
    visitor = gateway.client(host)
    for path in ("/", "/_reload", "/_health/secret-shop", "/admin/"):
        page = visitor.get(path)
        assert page.status_code == 404
        assert "No site answers to this host" in page.text
        assert_told_nothing(page, gateway, site)
    assert visitor.post("/_reload").status_code == 404
    assert visitor.get("/_health").json() == {"status": "ok"}


def test_the_token_changes_nothing_on_the_host_of_a_site(gateway: Gateway, site: BuiltSite) -> None:
    before: dict[str, Any] = gateway.health()
    operator = gateway.client(site.host, {"Authorization": f"Bearer {gateway.token}"})
    assert operator.post("/_reload").status_code == 404
    assert operator.get("/_health").text == "the health of secret-shop"
    assert operator.get("/").json()["site"] == "secret-shop"
    assert gateway.health() == before


@pytest.mark.parametrize("host", ["SECRET-shop.LOCALHOST", "secret-shop.localhost.:8080"])
def test_a_site_is_found_however_its_host_is_written(gateway: Gateway, host: str) -> None:
    assert gateway.client("localhost", {"Host": host}).get("/_health").text == (
        "the health of secret-shop"
    )


def test_the_token_is_nowhere_in_the_log(gateway: Gateway) -> None:
    assert gateway.operator().get("/_health").status_code == 200
    assert gateway.token not in gateway.output
