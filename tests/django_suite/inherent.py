"""The differences that are inherent, by test id: ``inherent.toml``."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from .runs import Difference, Run

_FILE: Final = Path(__file__).with_name("inherent.toml")


@dataclass(frozen=True)
class Inherent:
    """Tests that differ for one reason; ``series`` and ``python`` are empty for all of them.

    ``beside`` are those that differ only with another copy in the process; with ``chance`` they
    need not differ every time.
    """

    reason: str
    tests: tuple[str, ...]
    series: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    beside: bool = False
    chance: bool = False

    def applies(self, series: str, *, beside: bool) -> bool:
        """Whether these tests differ for a series of Django under this interpreter."""
        python = "{}.{}".format(*sys.version_info[:2])
        return (
            (not self.series or series in self.series)
            and (not self.python or python in self.python)
            and (beside or not self.beside)
        )


@dataclass(frozen=True)
class Verdict:
    """The differences of one suite, sorted.

    ``stale`` are tests that are listed as inherent, were run, and do not differ.
    """

    run: Run
    inherent: Sequence[Difference]
    unexplained: Sequence[Difference]
    stale: Sequence[str]

    @property
    def same(self) -> int:
        """The number of tests with the same outcome in both worlds."""
        ids = {item.test for item in (*self.inherent, *self.unexplained)}
        return len(self.run.outcomes.keys() - ids)

    @property
    def passed(self) -> bool:
        return not self.unexplained and not self.stale

    def __str__(self) -> str:
        stale = [
            f"{test} is in {_FILE.name} and does not differ: take it out" for test in self.stale
        ]
        return "\n".join([*map(str, self.unexplained), *stale])


@cache
def listed() -> tuple[Inherent, ...]:
    """Every entry of the file."""
    entries = tomllib.loads(_FILE.read_text())["difference"]
    return tuple(
        Inherent(
            entry["reason"].strip(),
            tuple(entry["tests"]),
            tuple(entry.get("series", ())),
            tuple(entry.get("python", ())),
            entry.get("beside", False),
            entry.get("chance", False),
        )
        for entry in entries
    )


def judge(run: Run, differences: Sequence[Difference], *, beside: bool = False) -> Verdict:
    """Tell the inherent from the unexplained differences of a run in a namespace."""
    applicable = [item for item in listed() if item.applies(run.suite.series, beside=beside)]
    allowed = {test for item in applicable for test in item.tests}
    expected = {test for item in applicable if not item.chance for test in item.tests}
    seen = {difference.test for difference in differences}
    return Verdict(
        run,
        [item for item in differences if item.test in allowed],
        [item for item in differences if item.test not in allowed],
        sorted((expected & run.outcomes.keys()) - seen),
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
    if entry.chance:
        parts.append("not every time")
    return f" ({', '.join(parts)})" if parts else ""
