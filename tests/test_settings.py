"""The ``GATEWAY_*`` variables."""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.errors import GatewayError
from gateway.settings import PREFIX, Settings, SettingsError

DOCUMENTATION = Path(__file__).parents[1] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def test_without_variables_the_defaults_count() -> None:
    settings = Settings.load()
    assert settings.sites == Path("sites.json")
    assert settings.state_dir == Path(".gateway")
    assert settings.admin_token is None
    assert settings.admin_token_file is None
    assert settings.admin_open is False
    assert settings.admin_hosts == ()
    assert settings.load_retry == 5.0
    assert settings.threads == 80
    assert settings.trusted_proxies == ()
    assert settings.trust_forwarded_host is False
    assert settings.head_timeout == 10.0
    assert settings.max_head == 32768
    assert settings.max_headers == 100


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SITES", "/etc/gateway/sites.json")
    monkeypatch.setenv("GATEWAY_STATE_DIR", "/var/lib/gateway")
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", "s3cr3t")
    monkeypatch.setenv("GATEWAY_ADMIN_OPEN", "1")
    monkeypatch.setenv("GATEWAY_ADMIN_HOSTS", "Admin.Example., [0::2]:8000,,admin.example")
    monkeypatch.setenv("GATEWAY_LOAD_RETRY", "0.5")
    monkeypatch.setenv("GATEWAY_THREADS", "4")
    monkeypatch.setenv("GATEWAY_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,2001:db8::/32,unix,")
    monkeypatch.setenv("GATEWAY_TRUST_FORWARDED_HOST", "1")
    monkeypatch.setenv("GATEWAY_HEAD_TIMEOUT", "2.5")
    monkeypatch.setenv("GATEWAY_MAX_HEAD", "8192")
    monkeypatch.setenv("GATEWAY_MAX_HEADERS", "50")
    settings = Settings.load()
    assert settings.sites == Path("/etc/gateway/sites.json")
    assert settings.state_dir == Path("/var/lib/gateway")
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == "s3cr3t"
    assert settings.admin_open is True
    assert settings.admin_hosts == ("admin.example", "[::2]")
    assert settings.load_retry == 0.5
    assert settings.threads == 4
    assert settings.trusted_proxies == (
        ip_network("127.0.0.1/32"),
        ip_network("10.0.0.0/8"),
        ip_network("2001:db8::/32"),
        "unix",
    )
    assert settings.trust_forwarded_host is True
    assert settings.head_timeout == 2.5
    assert settings.max_head == 8192
    assert settings.max_headers == 50


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"{PREFIX}{name.upper()}", "")
    assert Settings.load() == Settings()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("GATEWAY_ADMIN_OPEN", "perhaps", "write 1 or 0"),
        ("GATEWAY_ADMIN_HOSTS", "ok.example,my_host", '"_"'),
        ("GATEWAY_ADMIN_HOSTS", "*.example", "letters, digits"),
        ("GATEWAY_LOAD_RETRY", "soon", "number"),
        ("GATEWAY_LOAD_RETRY", "0", "greater than 0"),
        ("GATEWAY_LOAD_RETRY", "inf", "finite"),
        ("GATEWAY_THREADS", "0", "greater than or equal to 1"),
        ("GATEWAY_THREADS", "2.5", "integer"),
        ("GATEWAY_THREADS", "1" * 5000, "integer"),
        ("GATEWAY_TRUSTED_PROXIES", "127.0.0.1,nginx.example", '"nginx.example"'),
        ("GATEWAY_TRUSTED_PROXIES", "10.0.0.1/8", '"10.0.0.1/8"'),
        ("GATEWAY_TRUSTED_PROXIES", "*", '"*"'),
        ("GATEWAY_HEAD_TIMEOUT", "0", "greater than 0"),
        ("GATEWAY_HEAD_TIMEOUT", "1e999", "finite"),
        ("GATEWAY_TRUST_FORWARDED_HOST", "127.0.0.1", "write 1 or 0"),
        ("GATEWAY_MAX_HEAD", "1023", "greater than or equal to 1024"),
        ("GATEWAY_MAX_HEADERS", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert str(caught.value).startswith(f"{name}: {value!r} cannot be used: ")
    assert reason in str(caught.value)
    assert isinstance(caught.value, GatewayError)


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_THREADS", "many")
    monkeypatch.setenv("GATEWAY_ADMIN_OPEN", "perhaps")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    lines = str(caught.value).splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == [
        "GATEWAY_ADMIN_OPEN",
        "GATEWAY_THREADS",
    ]


@pytest.mark.parametrize("token", ["two words", "schlüssel", "line\nbreak"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", token)
    with pytest.raises(SettingsError, match="GATEWAY_ADMIN_TOKEN cannot be used: use visible") as c:
        Settings.load()
    assert token not in str(c.value)
    assert c.value.__cause__ is None
    assert c.value.__suppress_context__


def test_two_sources_of_the_token_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", "s3cr3t")
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN_FILE", "/run/secrets/token")
    with pytest.raises(SettingsError, match="both set") as caught:
        Settings.load()
    assert "s3cr3t" not in str(caught.value)


def test_the_token_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", "s3cr3t")
    assert "s3cr3t" not in repr(Settings.load())


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().threads = 3


def test_the_documented_table_is_the_one_of_the_model() -> None:
    documented = [
        line
        for line in DOCUMENTATION.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| `{PREFIX}")
    ]
    assert documented == [
        f"| `{PREFIX}{name.upper()}` | {_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]


def _default(value: object) -> str:
    match value:
        case None | ():
            return ""
        case bool():
            return f"`{int(value)}`"
        case float():
            return f"`{value:g}`"
    return f"`{value}`"
