"""The differences that are inherent, by test id: ``inherent.toml``."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("inherent.toml")


@dataclass(frozen=True)
class Inherent:
    """Tests that differ for one reason; ``series`` and ``python`` are empty for all of them.

    ``beside`` are those that differ only with another copy in the process, ``sometimes`` those that
    differ only if both come to the same place at the same moment.
    """

    reason: str
    tests: tuple[str, ...]
    series: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    beside: bool = False
    sometimes: bool = False

    def applies(self, series: str, *, beside: bool) -> bool:
        """Whether these tests differ for a series of Django under this interpreter."""
        python = "{}.{}".format(*sys.version_info[:2])
        return (
            (not self.series or series in self.series)
            and (not self.python or python in self.python)
            and (beside or not self.beside)
        )


@cache
def listed() -> tuple[Inherent, ...]:
    """Every entry of the file."""
    entries = tomllib.loads(FILE.read_text())["difference"]
    return tuple(
        Inherent(
            entry["reason"].strip(),
            tuple(entry["tests"]),
            tuple(entry.get("series", ())),
            tuple(entry.get("python", ())),
            entry.get("beside", False),
            entry.get("sometimes", False),
        )
        for entry in entries
    )


def tests(series: str, *, beside: bool, always: bool = False) -> frozenset[str]:
    """The tests that may differ for a series of Django under this interpreter.

    With ``always`` those that have to.
    """
    applicable = [item for item in listed() if item.applies(series, beside=beside)]
    return frozenset(
        test for item in applicable if not (always and item.sometimes) for test in item.tests
    )


def markdown() -> str:
    """The list as the documentation has it."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    for entry in listed():
        yield f"- {entry.reason}{_scope(entry)}"
        yield from (f"  - `{test}`" for test in sorted(entry.tests))


def _scope(entry: Inherent) -> str:
    parts = []
    if entry.series:
        parts.append("Django " + " and ".join(entry.series))
    if entry.python:
        parts.append("Python " + " and ".join(entry.python))
    if entry.beside:
        parts.append("beside another copy")
    if entry.sometimes:
        parts.append("if both run them at the same moment")
    return f" ({', '.join(parts)})" if parts else ""
