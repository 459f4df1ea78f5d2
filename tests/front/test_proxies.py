"""Whom a request is from, past the proxies that are trusted."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.front.head import RefusedError, Rule
from gateway.front.proxies import CONNECTION, REQUEST_ID, UNIX, WITHHELD, Proxies, hand_over

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "http.md"
NETWORKS = [ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]
TRUSTED = Proxies(NETWORKS)
TRUSTED_WITH_HOST = Proxies(NETWORKS, trust_host=True)
PROXY = ("10.0.0.1", 4711)
STRANGER = ("203.0.113.9", 4711)


def scope_of(*headers: tuple[str, str], client: Any = PROXY, **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "client": client,
        "scheme": "http",
        "server": ("gateway", 8000),
        "headers": [
            (b"host", b"shop.example"),
            *((name.lower().encode(), value.encode("latin-1")) for name, value in headers),
        ],
        **more,
    }


def follow(scope: dict[str, Any], proxies: Proxies = TRUSTED) -> tuple[str, bool]:
    return proxies.follow(scope, "shop.example")


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:1234", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("203.0.113.9, unknown, 10.0.0.2", "10.0.0.2"),
        ("203.0.113.9, , 10.0.0.2", "10.0.0.2"),
        ("unknown", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("[2001:db9::1]:80", "2001:db9::1"),
        ("2001:db9::1, [2001:db8::7]", "2001:db9::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9"),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_not_trusted(
    value: str, client: str
) -> None:
    scope = scope_of(("X-Forwarded-For", value))
    assert follow(scope) == ("shop.example", True)
    assert scope["client"][0] == client


def test_lists_in_several_lines_are_one() -> None:
    scope = scope_of(("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "10.0.0.2"))
    follow(scope)
    assert scope["client"] == ("203.0.113.9", 0)


@pytest.mark.parametrize("client", [STRANGER, ("a socket", 0), None])
def test_nobody_else_is_believed(client: Any) -> None:
    headers = (("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Proto", "https"))
    scope = scope_of(*headers, ("X-Forwarded-Host", "localhost"), client=client)
    before = dict(scope)
    assert follow(scope) == ("shop.example", False)
    assert scope == before


@pytest.mark.parametrize("client", [("10.9.9.9", 1), ("::ffff:10.0.0.1", 1), ("2001:db8::5", 1)])
def test_a_trusted_network_in_every_way_of_writing(client: tuple[str, int]) -> None:
    assert follow(scope_of(client=client))[1]


def test_peers_on_a_unix_socket() -> None:
    scope = scope_of(("X-Real-IP", "203.0.113.9"), client=None, server=("/run/gateway", None))
    assert follow(scope, Proxies([UNIX])) == ("shop.example", True)
    assert scope["client"] == ("203.0.113.9", 0)
    assert scope["server"] == ("localhost", 80)
    assert not follow(scope_of(client=STRANGER), Proxies([UNIX]))[1]


def test_what_django_looks_at_is_as_the_client_had_it() -> None:
    scope = scope_of(
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Proto", "http, HTTPS"),
        ("X-Forwarded-Host", "old.example, Blog.example:8443"),
    )
    assert follow(scope, TRUSTED_WITH_HOST) == ("blog.example", True)
    assert scope["scheme"] == "https"
    assert scope["server"] == ("gateway", 8443)
    assert scope["headers"][0] == (b"host", b"Blog.example:8443")


@pytest.mark.parametrize(
    ("headers", "port"),
    [
        ([], 80),
        ([("X-Forwarded-Proto", "https")], 443),
        ([("X-Forwarded-Port", "8443")], 8443),
        ([("X-Forwarded-Port", "http"), ("X-Forwarded-Proto", "https")], 443),
        ([("X-Forwarded-Host", "shop.example:81"), ("X-Forwarded-Port", "82")], 82),
    ],
)
def test_the_port(headers: list[tuple[str, str]], port: int) -> None:
    scope = scope_of(*headers)
    follow(scope, TRUSTED_WITH_HOST)
    assert scope["server"] == ("gateway", port)


HOST_OF_ANOTHER = {
    "X-Forwarded-Host": ("X-Forwarded-Host", "blog.example:81"),
    "Forwarded": ("Forwarded", 'for=203.0.113.9;host="blog.example:81"'),
    "no host": ("X-Forwarded-Host", "a/b"),
    "full-width letters": ("X-Forwarded-Host", "\uff53hop.example".encode().decode("latin-1")),
}


@pytest.mark.parametrize("header", HOST_OF_ANOTHER.values(), ids=HOST_OF_ANOTHER)
def test_host_alone_routes_unless_the_forwarded_one_is_trusted(header: tuple[str, str]) -> None:
    scope = scope_of(header)
    assert follow(scope) == ("shop.example", True)
    assert scope["server"] == ("gateway", 80)
    hand_over(scope, trusted=True)
    seen = headers_of(scope)
    assert seen["host"] == "shop.example"
    assert not {"x-forwarded-host", "forwarded"} & set(seen)


def test_a_scheme_that_is_none_changes_nothing() -> None:
    scope = scope_of(("X-Forwarded-Proto", "gopher"))
    follow(scope)
    assert scope["scheme"] == "http"


@pytest.mark.parametrize(
    "value",
    [
        "a/b",
        "shop%2eexample",
        "%73hop.example",
        "m\u00fcnchen.example",
        "\uff53hop.example".encode().decode("latin-1"),
        "shop\u3002example".encode().decode("latin-1"),
    ],
)
@pytest.mark.parametrize("name", ["X-Forwarded-Host", "Forwarded"])
def test_a_host_that_is_none_is_refused(name: str, value: str) -> None:
    header = (name, f'for=203.0.113.9;host="{value}"' if name == "Forwarded" else value)
    with pytest.raises(RefusedError) as refused:
        follow(scope_of(header), TRUSTED_WITH_HOST)
    assert refused.value.rule is Rule.HOST_VALUE


@pytest.mark.parametrize(
    ("value", "client", "scheme", "host"),
    [
        ("for=203.0.113.9", "203.0.113.9", "http", "shop.example"),
        ('For="[2001:db9::1]:47";Proto=https', "2001:db9::1", "https", "shop.example"),
        (
            "for=1.1.1.1;host=old.example, for=203.0.113.9;proto=https;host=blog.example,"
            "for=10.0.0.2;proto=http;host=inner.example",
            "203.0.113.9",
            "https",
            "blog.example",
        ),
        ("for=203.0.113.9;proto=https, for=_hidden;proto=http", "10.0.0.1", "http", "shop.example"),
        ('for=203.0.113.9, for="', "10.0.0.1", "http", "shop.example"),
        ('for=", for=203.0.113.9', "203.0.113.9", "http", "shop.example"),
        ('for="203.0.113\\.9"', "203.0.113.9", "http", "shop.example"),
    ],
)
def test_forwarded(value: str, client: str, scheme: str, host: str) -> None:
    scope = scope_of(("Forwarded", value))
    assert follow(scope, TRUSTED_WITH_HOST) == (host, True)
    assert (scope["client"][0], scope["scheme"]) == (client, scheme)


@pytest.mark.parametrize(
    "other",
    [
        ("X-Forwarded-For", "203.0.113.10"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "blog.example"),
    ],
)
def test_a_proxy_that_contradicts_itself_is_passing_on_what_a_client_said(
    other: tuple[str, str],
) -> None:
    forwarded = ("Forwarded", "for=203.0.113.9;proto=https;host=shop.example")
    with pytest.raises(RefusedError) as refused:
        follow(scope_of(forwarded, other), TRUSTED_WITH_HOST)
    assert refused.value.rule is Rule.FORWARDED


def test_a_host_that_does_not_count_contradicts_nothing() -> None:
    forwarded = ("Forwarded", "for=203.0.113.9;proto=https;host=old.example")
    scope = scope_of(forwarded, ("X-Forwarded-Host", "blog.example"))
    assert follow(scope) == ("shop.example", True)
    assert (scope["client"][0], scope["scheme"]) == ("203.0.113.9", "https")


def test_both_kinds_may_say_the_same() -> None:
    scope = scope_of(
        ("Forwarded", 'for="203.0.113.9:81";proto=https'),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
    )
    follow(scope)
    assert (scope["client"], scope["scheme"]) == (("203.0.113.9", 81), "https")


@given(st.text(alphabet='for=";,\\ 12.proto[]:', max_size=60))
def test_nothing_left_of_what_the_proxy_wrote_counts(forged: str) -> None:
    scope = scope_of(("Forwarded", f'{forged}, for="203.0.113.9"'))
    follow(scope)
    assert scope["client"][0] == "203.0.113.9"


def test_the_connection_counts_whatever_the_server_made_of_it() -> None:
    """uvicorn's ``--proxy-headers`` has put in what anybody on this machine says."""
    forged = scope_of(client=PROXY, scheme="https", **{CONNECTION: (STRANGER, "http")})
    assert follow(forged) == ("shop.example", False)
    assert (forged["client"], forged["scheme"]) == (STRANGER, "http")
    rewritten = scope_of(
        ("X-Forwarded-For", "203.0.113.10"), client=STRANGER, **{CONNECTION: (PROXY, "http")}
    )
    assert follow(rewritten)[1]
    assert rewritten["client"] == ("203.0.113.10", 0)


# What a site sees


def headers_of(scope: dict[str, Any]) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}


def withheld() -> list[str]:
    """The names in the documentation, a few of them for ``X-Forwarded-*``."""
    text = DOCUMENTATION.read_text(encoding="utf-8").split("**What a site sees.**")[1]
    listed = re.findall(r"`([\w-]+)`", text.partition(" So\n")[0])
    return [*listed, "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Ssl", "X-Forwarded-User"]


def test_what_is_documented_is_what_is_withheld() -> None:
    names = {name.lower().encode() for name in withheld()}
    assert {name for name in names if not name.startswith(b"x-forwarded-")} == WITHHELD


@pytest.mark.parametrize("name", withheld())
def test_a_site_sees_nothing_of_what_strangers_say(name: str) -> None:
    scope = scope_of((name, "https"), ("Accept", "*/*"), client=STRANGER)
    hand_over(scope, trusted=False)
    assert list(headers_of(scope)) == ["host", "accept", "x-request-id"]
    assert headers_of(scope)["x-request-id"] != "https"


def test_a_site_sees_what_was_found_out() -> None:
    scope = scope_of(
        ("X-Forwarded-For", "198.51.100.1, 203.0.113.9"),
        ("X-Forwarded-Proto", "http, https"),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-User", "ada"),
        ("X-Real-IP", "198.51.100.1"),
    )
    follow(scope)
    identity = hand_over(scope, trusted=True)
    assert headers_of(scope) == {
        "host": "shop.example",
        "x-forwarded-user": "ada",
        "x-forwarded-for": "203.0.113.9",
        "x-forwarded-proto": "https",
        "x-request-id": identity,
    }


def test_a_request_id_is_taken_from_a_trusted_proxy_alone() -> None:
    header = ("X-Request-ID", "3f2a-7.b:c/d+e=_")
    scope = scope_of(header)
    assert hand_over(scope, trusted=True) == header[1] == scope[REQUEST_ID]
    other = hand_over(scope_of(header), trusted=False)
    assert len(other) == 16
    assert int(other, 16) >= 0


@pytest.mark.parametrize("value", ["", "a b", "ä", "x" * 129, 'a"b'])
def test_a_request_id_that_no_log_should_hold_is_replaced(value: str) -> None:
    scope = scope_of(("X-Request-ID", value))
    assert len(hand_over(scope, trusted=True)) == 16
    assert headers_of(scope)["x-request-id"] == scope[REQUEST_ID]


def test_two_request_ids_are_none() -> None:
    scope = scope_of(("X-Request-ID", "one"), ("X-Request-ID", "two"))
    assert hand_over(scope, trusted=True) not in {"one", "two"}


def test_the_same_host_in_other_words_is_no_contradiction() -> None:
    forwarded = ("Forwarded", "for=203.0.113.9;host=Blog.Example:80")
    scope = scope_of(forwarded, ("X-Forwarded-Host", "blog.example"))
    assert follow(scope, TRUSTED_WITH_HOST) == ("blog.example", True)
