"""Errors of sites as text."""

from __future__ import annotations

import pytest

from gateway.errors import CodeError, LoadError, told


class Untellable(Exception):
    """Raises what it was made with when it is asked for its text."""

    def __init__(self, raised: BaseException) -> None:
        self.raised = raised

    def __str__(self) -> str:
        raise self.raised


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise KeyboardInterrupt


class Hostile(Exception, metaclass=Nameless):
    @property
    def __cause__(self) -> BaseException:  # type: ignore[override]
        raise SystemExit


def test_an_error_has_a_line_and_a_traceback() -> None:
    with pytest.raises(ValueError) as caught:
        raise ValueError("two\nlines")
    words = told(caught.value)
    assert words.reason == str(words) == "ValueError: two lines"
    assert words.traceback.startswith("Traceback (most recent call last):\n")
    assert words.traceback.endswith("\nValueError: two\nlines\n")
    assert words.__cause__ is words.__context__ is words.__traceback__ is None


def test_what_is_text_already_stays() -> None:
    error = LoadError("a reason", "a traceback")
    assert told(error) is error


@pytest.mark.parametrize("raised", [ValueError(), KeyboardInterrupt(), SystemExit(3)])
def test_an_error_whose_text_raises(raised: BaseException) -> None:
    words = told(Untellable(raised))
    assert words.reason == "Untellable: <exception str() failed>"
    assert words.traceback.endswith("Untellable: <exception str() failed>\n")


def test_an_error_that_cannot_be_told_at_all() -> None:
    assert told(Hostile()).reason == "Hostile: <its text cannot be made: SystemExit>"


def test_a_text_is_bounded() -> None:
    words: CodeError = told(ValueError("long " * 1_000_000 + "and the end"))
    assert len(words.reason) < 3_000
    assert len(words.traceback) < 60_000
    assert words.reason.startswith("ValueError: long")
    assert words.traceback.endswith("and the end\n")
