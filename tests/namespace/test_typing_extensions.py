"""Several copies of typing_extensions, which before Python 3.13 replace functions of ``typing``.

Every copy tells type variables without a default by a mark of its own, and each replacement knows
only the mark of its copy. Which copy code has depends on its environment: one that is private to
the site, one that a native package requires and that is a unit, that of the gateway, or none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from gateway.namespace import Namespace

from .venvs import installed_or_skip
from .worlds import load

PROGRAM = """
import typing
from typing_extensions import ParamSpec, TypeVar

Plain = typing.TypeVar("Plain")
Without = TypeVar("Without")
With = TypeVar("With", default=int)
Calls = ParamSpec("Calls")

class Box(typing.Generic[Without, Plain]): pass
class Call(typing.Generic[Calls, Plain]): pass
class Defaulted(typing.Generic[Plain, With]): pass

def outcome(make):
    try:
        return repr(make())
    except TypeError as exc:
        return str(exc)

def use():
    class Late(typing.Generic[Without, Plain]): pass
    return [outcome(make) for make in (
        lambda: typing.Generic[With, Plain],
        lambda: Box[int],
        lambda: Box[int, str],
        lambda: Defaulted[str],
        lambda: Defaulted[str, str],
        lambda: Call[[int], str],
        lambda: dict[Without, Plain][int, str],
        lambda: typing.Callable[Calls, Without][[int], int],
        lambda: Late[int, str].__origin__.__parameters__,
    )]
"""
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    # The first version that knows 3.13, or one that replaces nothing.
    "old": ("typing_extensions==4." + ("12.2" if sys.version_info >= (3, 13) else "9.0"),),
    "private": ("typing_extensions==4.15.0",),
    "gateway": (),
    "unit": ("typing_extensions==4.14.1", "pydantic"),
}


class Copy:
    """A program with the typing_extensions of its environment; ``None`` is the gateway's."""

    def __init__(self, venv: Path | None) -> None:
        self._namespace = Namespace(str(venv), venv=venv)
        self.use: Callable[[], Any] = load(self._namespace, PROGRAM)["use"]

    def close(self) -> None:
        self._namespace.close()


@pytest.fixture
def copy(hooks: None) -> Iterator[Callable[[str], Copy]]:
    """Makes copies."""
    copies: list[Copy] = []

    def make(kind: str) -> Copy:
        copies.append(Copy(environment(kind)))
        return copies[-1]

    yield make
    for made in copies:
        made.close()


def environment(kind: str) -> Path | None:
    return installed_or_skip(REQUIREMENTS[kind]) if REQUIREMENTS[kind] else None


def expected(kind: str) -> Any:
    """What the program says under plain Python, in the same environment."""
    venv = environment(kind)
    python = str(venv / "bin" / "python") if venv else sys.executable
    source = f"__name__ = 'probe'{PROGRAM}\nimport json\nprint(json.dumps(use()))"
    run = subprocess.run([python, "-c", source], check=True, capture_output=True, timeout=60)
    return json.loads(run.stdout)


@pytest.mark.parametrize("kinds", [*permutations(REQUIREMENTS, 2)], ids="-".join)
def test_side_by_side(copy: Callable[[str], Copy], kinds: tuple[str, str]) -> None:
    """Each as if it were alone, in whatever order they are imported, and the process too."""
    wanted = [expected(kind) for kind in kinds]
    copies = [copy(kind) for kind in kinds]
    assert [made.use() for made in copies] == wanted
    assert [made.use() for made in reversed(copies)] == wanted[::-1]
    of_the_process: dict[str, Any] = {"__name__": "probe"}
    exec(PROGRAM, of_the_process)
    assert of_the_process["use"]() == expected("gateway")
