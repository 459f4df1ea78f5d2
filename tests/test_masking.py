"""Keeping a site's environment out of what is shown."""

from __future__ import annotations

import pytest

from gateway.masking import MASK, Mask


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("open-sesame", "connecting with open-sesame failed"),
        ("open-sesame", "ValueError('open-sesame')"),
        ("two\nlines-here", "invalid value 'two\\nlines-here'"),
        ("-----BEGIN KEY-----\nMIIEvQIBADAN\n", "cannot decode MIIEvQIBADAN"),
        ("postgres://joe:pa%40ssword@db/shop", "password pa@ssword refused"),
        ("postgres://joe:pa%40ssword@db/shop", "password pa%40ssword refused"),
    ],
)
def test_no_form_of_a_value_gets_through(value: str, shown: str) -> None:
    masked = Mask({"SECRET": value})(shown)
    assert MASK in masked
    for part in ("open-sesame", "lines-here", "MIIEvQIBADAN", "ssword r"):
        assert part not in masked.replace("password r", "")


def test_a_value_within_another_does_not_leave_the_rest_of_it_readable() -> None:
    mask = Mask({"USER_NAME": "secret", "TOKEN": "secret-and-more"})
    assert mask("secret-and-more, secret") == f"{MASK}, {MASK}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "true"),
        ("PORT", "5432"),
        ("EMPTY", ""),
        ("DJANGO_SETTINGS_MODULE", "core.settings"),
        ("VIRTUAL_ENV", "/srv/shop/.venv"),
        ("HOME", "/home/shop"),
        ("LC_ALL", "C.UTF-8"),
    ],
)
def test_what_a_traceback_needs_to_be_read_stays(name: str, value: str) -> None:
    text = f"File '{value}/x.py', line 1: {value}"
    assert Mask({name: value})(text) == text


def test_a_value_that_is_no_valid_url_is_masked_all_the_same() -> None:
    assert Mask({"SECRET": "http://[oops"})("at http://[oops") == f"at {MASK}"
