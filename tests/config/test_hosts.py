"""Host names and the table of hosts."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config.hosts import (
    ADMIN_HOSTS,
    HostTable,
    InvalidHostError,
    normalise_host,
    normalise_pattern,
)
from gateway.errors import GatewayError

LABEL_63 = "a" * 63
NAME_253 = ".".join([LABEL_63, LABEL_63, LABEL_63, "a" * 61])


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("shop.example", "shop.example"),
        ("SHOP.Example", "shop.example"),
        ("shop.example.", "shop.example"),
        ("shop.example:8000", "shop.example"),
        ("Shop.Example.:8000", "shop.example"),
        ("shop.example:", "shop.example"),
        ("shop.example:0", "shop.example"),
        ("shop.example:65535", "shop.example"),
        ("localhost", "localhost"),
        ("r3---sn-4g5e.example", "r3---sn-4g5e.example"),
        ("1.example", "1.example"),
        (NAME_253, NAME_253),
        (f"{NAME_253}.:65535", NAME_253),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("MÜNCHEN.example:80", "xn--mnchen-3ya.example"),
        ("XN--MNCHEN-3YA.example", "xn--mnchen-3ya.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[::1]:8000", "[::1]"),
        ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ("[2001:DB8::A]", "[2001:db8::a]"),
        ("[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]"),
        ("[::FFFF:7f00:1]", "[::ffff:127.0.0.1]"),
    ],
)
def test_a_host_has_one_normal_form(value: str, normal: str) -> None:
    assert normalise_host(value) == normal


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "empty"),
        (".", "empty"),
        (":80", "empty"),
        (" ", "letters, digits"),
        (" shop.example", "letters, digits"),
        ("shop.example\n", "letters, digits"),
        ("shop.example\x00", "letters, digits"),
        ("shop.example, other.example", "letters, digits"),
        ("shop..example", "before and after each dot"),
        (".shop.example", "before and after each dot"),
        ("shop.example..", "before and after each dot"),
        ("-shop.example", "hyphen"),
        ("shop-.example", "hyphen"),
        ("a" * 64 + ".example", "63"),
        (f"{NAME_253}a", "253"),
        ("a" * 5000, "253"),
        ("my_shop.example", '"_"'),
        ("sh%6Fp.example", "percent"),
        ("me@shop.example", "user name"),
        ("me:secret@shop.example", "user name"),
        ("https://shop.example/", "https://"),
        ("shop.example/cart", "https://"),
        ("shop.example:port", "port"),
        ("shop.example:-1", "port"),
        ("shop.example:+80", "port"),
        ("shop.example:65536", "port"),
        ("shop.example:080000", "port"),
        ("shop.example:٨٠", "port"),
        ("*.shop.example", "letters, digits"),
        ("127.1", "IPv4"),
        ("256.0.0.1", "IPv4"),
        ("0177.0.0.1", "IPv4"),
        ("1.2.3.4.5", "IPv4"),
        ("::1", "brackets"),
        ("[::1", "brackets"),
        ("[]", "IPv6"),
        ("[::1]x", "port"),
        ("[::1]80", "port"),
        ("[fe80::1%25eth0]", "zone"),
        ("[v1.fe]", "IPv6"),
        ("[127.0.0.1]", "IPv6"),
        ("i❤.example", "internationalised"),
        ("\ud800.example", "internationalised"),
    ],
)
def test_what_cannot_be_a_host_is_refused_with_the_reason(value: str, reason: str) -> None:
    with pytest.raises(InvalidHostError) as caught:
        normalise_host(value)
    assert reason in caught.value.reason
    assert caught.value.status == 400
    assert isinstance(caught.value, GatewayError)


def test_the_error_does_not_repeat_what_a_stranger_sent() -> None:
    with pytest.raises(InvalidHostError) as caught:
        normalise_host("<script>\r\nforged: line")
    assert "script" not in str(caught.value)


def test_admin_hosts_are_in_normal_form() -> None:
    assert {normalise_host(host) for host in ADMIN_HOSTS} == ADMIN_HOSTS


@given(st.text() | st.text(alphabet="aZ0-.:[]*@%_/ ü。\u00ad"))
@example("a.\u3002b")
@example("[::ffff:1.2.3.4]")
def test_any_text_has_a_stable_normal_form_or_is_refused(value: str) -> None:
    try:
        normal = normalise_host(value)
    except InvalidHostError:
        return
    assert normalise_host(normal) == normal
    assert normal.isascii()
    assert normal == normal.lower()


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("Shop.Example.", "shop.example"),
        ("*.Shop.Example", "*.shop.example"),
        ("*.münchen.example", "*.xn--mnchen-3ya.example"),
        ("*.localhost", "*.localhost"),
        ("[0::1]", "[::1]"),
    ],
)
def test_a_pattern_has_one_normal_form(value: str, normal: str) -> None:
    assert normalise_pattern(value) == normal


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("shop.example:80", "leave out the port"),
        ("*.shop.example:80", "leave out the port"),
        ("[::1]:80", "leave out the port"),
        ("*", "default_site"),
        ("*.", "empty"),
        ("*shop.example", "whole first label"),
        ("shop.*.example", "whole first label"),
        ("*.*.example", "whole first label"),
        ("*.10.0.0.1", "not before an address"),
        ("*.[::1]", "not before an address"),
        ("::1", "brackets"),
        ("https://shop.example", "https://"),
    ],
)
def test_what_cannot_be_a_pattern_is_refused_with_the_reason(value: str, reason: str) -> None:
    with pytest.raises(InvalidHostError) as caught:
        normalise_pattern(value)
    assert reason in caught.value.reason


@pytest.fixture
def table() -> HostTable:
    return HostTable.build(
        {
            "shop": ["shop.example", "*.shop.example"],
            "api": ["api.shop.example", "*.api.shop.example"],
            "address": ["127.0.0.1", "[::1]"],
        },
        default=None,
    )


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("shop.example", "shop"),
        ("www.shop.example", "shop"),
        ("a.b.shop.example", "shop"),
        ("api.shop.example", "api"),
        ("v1.api.shop.example", "api"),
        ("127.0.0.1", "address"),
        ("[::1]", "address"),
        ("example", None),
        ("bigshop.example", None),
        ("0.1", None),
        ("other.example", None),
    ],
)
def test_the_exact_host_wins_over_the_longest_wildcard(
    table: HostTable, host: str, site: str | None
) -> None:
    assert table.find(host) == site


def test_a_wildcard_is_not_for_the_name_itself() -> None:
    assert HostTable.build({"shop": ["*.shop.example"]}, None).find("shop.example") is None


def test_the_default_answers_to_everything_else() -> None:
    table = HostTable.build({"shop": ["shop.example"], "other": []}, default="other")
    assert table.find("shop.example") == "shop"
    assert table.find("unknown.example") == "other"


def test_two_sites_cannot_claim_one_host() -> None:
    with pytest.raises(ValueError, match="both claim"):
        HostTable.build({"a": ["x.example"], "b": ["x.example"]}, None)
    with pytest.raises(ValueError, match="both claim"):
        HostTable.build({"a": ["*.x.example"], "b": ["*.x.example"]}, None)


def test_an_exact_host_and_a_wildcard_of_the_same_name_are_two_hosts() -> None:
    table = HostTable.build({"a": ["x.example"], "b": ["*.x.example"]}, None)
    assert (table.find("x.example"), table.find("y.x.example")) == ("a", "b")


NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(".".join)
PATTERNS = NAMES | NAMES.map(lambda name: f"*.{name}")


@given(
    owners=st.dictionaries(PATTERNS, st.sampled_from(["one", "two", "three"])),
    default=st.sampled_from([None, "one"]),
    host=NAMES,
)
def test_finding_agrees_with_a_search_through_all_patterns(
    owners: dict[str, str], default: str | None, host: str
) -> None:
    hosts: dict[str, list[str]] = {}
    for pattern, owner in owners.items():
        hosts.setdefault(owner, []).append(pattern)

    matching = [p for p in owners if p == host or (p[0] == "*" and host.endswith(p[1:]))]
    matching.sort(key=lambda pattern: (pattern == host, len(pattern)))
    expected = owners[matching[-1]] if matching else default

    assert HostTable.build(hosts, default).find(host) == expected
