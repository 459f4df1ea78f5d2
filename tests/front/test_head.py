"""What is refused or dropped before a site sees it, asked of the ASGI scope alone."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.front.head import (
    LONGEST_TARGET,
    HeadLimits,
    RefusedError,
    Rule,
    check_authority,
    clean,
)

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "http.md"
LIMITS = HeadLimits(head=32768, headers=100)
HOST = (b"host", b"shop.example")


def scope_of(*headers: tuple[bytes, bytes], path: bytes = b"/", **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": b"",
        "headers": list(headers),
        **more,
    }


def names(scope: dict[str, Any]) -> list[bytes]:
    return [name for name, _ in scope["headers"]]


REFUSED: dict[str, tuple[Rule, dict[str, Any]]] = {
    "no header at all": (Rule.HOST, scope_of()),
    "no host": (Rule.HOST, scope_of((b"accept", b"*/*"))),
    "two hosts": (Rule.HOST, scope_of(HOST, (b"host", b"blog.example"))),
    "the same host twice": (Rule.HOST, scope_of(HOST, HOST)),
    "an empty host": (Rule.HOST_VALUE, scope_of((b"host", b""))),
    "a host with a path": (Rule.HOST_VALUE, scope_of((b"host", b"shop.example/x"))),
    "a host that is no text": (Rule.HOST_VALUE, scope_of((b"host", b"\xff.example"))),
    "a host in full-width letters": (
        Rule.HOST_VALUE,
        scope_of((b"host", "\uff53\uff48\uff4f\uff50.example".encode())),
    ),
    "a host with a full stop of another script": (
        Rule.HOST_VALUE,
        scope_of((b"host", "shop\u3002example".encode())),
    ),
    "a host with a letter that idna drops": (
        Rule.HOST_VALUE,
        scope_of((b"host", "sh\u00adop.example".encode())),
    ),
    "a host with digits of another script": (
        Rule.HOST_VALUE,
        scope_of((b"host", "\uff11\uff12\uff17.0.0.1".encode())),
    ),
    "a port in digits of another script": (
        Rule.HOST_VALUE,
        scope_of((b"host", "shop.example:\uff18\uff10".encode())),
    ),
    "an internationalised host": (
        Rule.HOST_VALUE,
        scope_of((b"host", "m\u00fcnchen.example".encode())),
    ),
    "a host with a percent": (Rule.HOST_VALUE, scope_of((b"host", b"shop%2Eexample"))),
    "a long port": (Rule.HOST_VALUE, scope_of((b"host", b"shop.example:" + b"9" * 5000))),
    "a port of many noughts": (
        Rule.HOST_VALUE,
        scope_of((b"host", b"shop.example:" + b"0" * 5000 + b"80")),
    ),
    "a space in a name": (Rule.NAME, scope_of(HOST, (b"x y", b"1"))),
    "a space before the colon": (Rule.NAME, scope_of(HOST, (b"x ", b"1"))),
    "no name": (Rule.NAME, scope_of(HOST, (b"", b"1"))),
    "a line end in a name": (Rule.NAME, scope_of(HOST, (b"x\ny", b"1"))),
    "a name that is not ASCII": (Rule.NAME, scope_of(HOST, (b"\xe4", b"1"))),
    "a line end in a value": (Rule.VALUE, scope_of(HOST, (b"x", b"1\r\ny: 2"))),
    "a NUL in a value": (Rule.VALUE, scope_of(HOST, (b"x", b"1\0"))),
    "DEL in a value": (Rule.VALUE, scope_of(HOST, (b"x", b"\x7f"))),
    "HTTP/2 in the words of HTTP/1": (Rule.VERSION, scope_of(HOST, http_version="2.0")),
    "a NUL in the target": (Rule.TARGET, scope_of(HOST, path=b"/\0")),
    "a fragment": (Rule.TARGET, scope_of(HOST, path=b"/admin#/public")),
    "a space in the target": (Rule.TARGET, scope_of(HOST, path=b"/a b")),
    "a tab in the query": (Rule.TARGET, scope_of(HOST, query_string=b"a\tb")),
    "a target without a slash": (Rule.TARGET_FORM, scope_of(HOST, path=b"admin")),
    "an empty target": (Rule.TARGET_FORM, scope_of(HOST, path=b"")),
    "the authority form": (
        Rule.TARGET_FORM,
        scope_of(HOST, path=b"shop.example:443", method="CONNECT"),
    ),
    "the asterisk form of GET": (Rule.TARGET_FORM, scope_of(HOST, path=b"*")),
    "another scheme": (Rule.TARGET_FORM, scope_of(HOST, path=b"ftp://shop.example/")),
    "another host": (Rule.TARGET_HOST, scope_of(HOST, path=b"http://blog.example/")),
    "another host in full-width letters": (
        Rule.HOST_VALUE,
        scope_of(HOST, path=b"http://" + "\uff53hop.example/".encode()),
    ),
    "a host with a percent in the target": (
        Rule.HOST_VALUE,
        scope_of(HOST, path=b"http://%73hop.example/"),
    ),
    "a user in the target": (Rule.HOST_VALUE, scope_of(HOST, path=b"http://a@shop.example/")),
    "a long target": (Rule.LONG_TARGET, scope_of(HOST, path=b"/" + b"a" * LONGEST_TARGET)),
    "a long query": (Rule.LONG_TARGET, scope_of(HOST, query_string=b"a" * LONGEST_TARGET)),
    "many headers": (Rule.MANY_HEADERS, scope_of(HOST, *[(b"x", b"1")] * 100)),
    "a long value": (Rule.LARGE_HEAD, scope_of(HOST, (b"x", b"1" * 32768))),
    "a long name": (Rule.LARGE_HEAD, scope_of(HOST, (b"x" * 32768, b"1"))),
    "two lengths": (Rule.LENGTH, scope_of(HOST, *[(b"content-length", b"1")] * 2)),
    "a list of lengths": (Rule.LENGTH, scope_of(HOST, (b"content-length", b"1, 1"))),
    "a length with a sign": (Rule.LENGTH, scope_of(HOST, (b"content-length", b"+1"))),
    "a length that no integer holds": (
        Rule.LENGTH,
        scope_of(HOST, (b"content-length", b"1" * 5000)),
    ),
    "a length of many noughts": (Rule.LENGTH, scope_of(HOST, (b"content-length", b"0" * 5000))),
    "no length": (Rule.LENGTH, scope_of(HOST, (b"content-length", b""))),
    "a length and a coding": (
        Rule.LENGTH_AND_CODING,
        scope_of(HOST, (b"content-length", b"1"), (b"transfer-encoding", b"chunked")),
    ),
    "another coding": (Rule.CODING, scope_of(HOST, (b"transfer-encoding", b"gzip, chunked"))),
    "two codings": (Rule.CODING, scope_of(HOST, *[(b"transfer-encoding", b"chunked")] * 2)),
    "chunked in HTTP/1.0": (
        Rule.CODING,
        scope_of(HOST, (b"transfer-encoding", b"chunked"), http_version="1.0"),
    ),
}


@pytest.mark.parametrize(("rule", "scope"), REFUSED.values(), ids=REFUSED)
def test_refused(rule: Rule, scope: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as refused:
        clean(scope, LIMITS)
    assert refused.value.rule is rule
    assert 400 <= rule.status < 500


def test_every_rule_of_the_scope_has_a_case() -> None:
    dropped = {Rule.PROXY, Rule.UNDERSCORE}
    # The first in test_proxies.py, the second below: it depends on the server.
    elsewhere = {Rule.FORWARDED, Rule.UPGRADE}
    assert {rule for rule, _ in REFUSED.values()} | dropped | elsewhere == set(Rule)
    assert {rule for rule in Rule if not rule.status} == dropped


@pytest.mark.parametrize("name", [b"x_forwarded_for", b"content_length", b"_", b"proxy"])
def test_dropped(name: bytes) -> None:
    scope = scope_of((b"a", b"1"), (name, b"2"), HOST, (name, b"3"))
    assert clean(scope, LIMITS) == "shop.example"
    assert names(scope) == [b"a", b"host"]


def test_what_is_dropped_does_not_hide_what_is_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        clean(scope_of(HOST, (b"a_b", b"1"), (b"c d", b"1")), LIMITS)
    assert refused.value.rule is Rule.NAME


@pytest.mark.parametrize(
    "header",
    [
        (b"x", b"\xe4 \t obs-text"),
        (b"x", b""),
        (b"!#$%&'*+-.^`|~", b"1"),
        (b"proxy-authorization", b"1"),
        (b"transfer-encoding", b"Chunked"),
        (b"content-length", b"0"),
    ],
    ids=str,
)
def test_what_is_allowed_stays_as_it_is(header: tuple[bytes, bytes]) -> None:
    scope = scope_of(HOST, header, path=b"/%00%2F", query_string=b"a=%20&b=\xe4")
    before = dict(scope, headers=list(scope["headers"]))
    assert clean(scope, LIMITS) == "shop.example"
    assert scope == before


def test_the_limits_are_those_that_were_set() -> None:
    assert clean(scope_of(HOST, *[(b"x", b"1")] * 4), HeadLimits(1024, 5)) == "shop.example"
    for scope in (scope_of(HOST, *[(b"x", b"1")] * 5), scope_of(HOST, (b"x", b"1" * 1024))):
        with pytest.raises(RefusedError):
            clean(scope, HeadLimits(1024, 5))


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://shop.example/a%2Fb", b"/a%2Fb"),
        (b"HTTPS://SHOP.example.:8000/", b"/"),
        (b"http://shop.example", b"/"),
        (b"http://shop.example?a=/b", b"/?a=/b"),
        (b"http://shop.example/a?b://c", b"/a?b://c"),
    ],
)
def test_a_target_in_absolute_form_is_for_its_host(target: bytes, path: bytes) -> None:
    assert check_authority(target, "shop.example") == path


def test_an_absolute_target_becomes_a_path() -> None:
    scope = scope_of(HOST, path=b"http://shop.example/a%2Fb")
    assert clean(scope, LIMITS) == "shop.example"
    assert (scope["path"], scope["raw_path"]) == ("/a/b", b"/a%2Fb")


def test_the_asterisk_of_options_stays() -> None:
    scope = scope_of(HOST, path=b"*", method="OPTIONS")
    assert clean(scope, LIMITS) == "shop.example"
    assert scope["path"] == "*"


def test_a_server_may_keep_the_raw_path_to_itself() -> None:
    scope = scope_of(HOST, path=b"http://shop.example/a")
    del scope["raw_path"]
    assert clean(scope, LIMITS) == "shop.example"
    assert scope["path"] == "/a"


HEADERS = st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=6)


@given(HEADERS, st.binary(max_size=12), st.binary(max_size=12))
def test_nothing_that_passes_can_mislead_a_site(
    headers: list[tuple[bytes, bytes]], path: bytes, query: bytes
) -> None:
    scope = scope_of(HOST, *headers, path=path, query_string=query)
    try:
        clean(scope, LIMITS)
    except RefusedError:
        return
    environ = [name.upper().replace(b"-", b"_") for name in names(scope)]
    assert len(set(environ)) == len(set(names(scope)))
    assert b"PROXY" not in environ
    assert environ.count(b"HOST") == 1
    text = b"".join(b"".join(item) for item in scope["headers"]) + path + query
    assert not {0, 10, 13} & set(text)


def test_the_documented_table_is_the_one_of_the_code() -> None:
    section = DOCUMENTATION.read_text(encoding="utf-8").split("## ")[1]
    documented = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert documented == [
        f"| {rule.what} | {rule.status or 'dropped'} | {rule.source} |" for rule in Rule
    ]


@pytest.mark.parametrize(
    ("framing", "offer", "refused"),
    [
        ((b"content-length", b"3"), b"keep-alive, Upgrade", True),
        ((b"transfer-encoding", b"chunked"), b"upgrade", True),
        ((b"content-length", b"0"), b"upgrade", False),
        ((b"content-length", b"3"), b"keep-alive", False),
    ],
)
def test_an_offer_to_upgrade_with_a_body(
    framing: tuple[bytes, bytes], offer: bytes, refused: bool
) -> None:
    headers = (HOST, framing, (b"connection", offer), (b"upgrade", b"h2c"))
    assert clean(scope_of(*headers), LIMITS) == "shop.example"
    strict = LIMITS._replace(upgrades=False)
    with pytest.raises(RefusedError) if refused else nullcontext() as raised:
        clean(scope_of(*headers), strict)
    assert raised is None or raised.value.rule is Rule.UPGRADE


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    scope = scope_of((b"host", b"shop.example \t"), (b"x", b"\t 1 2\t"), (b"y", b"\xff"))
    assert clean(scope, LIMITS) == "shop.example"
    assert [value for _, value in scope["headers"]] == [b"shop.example", b"1 2", b"\xff"]
