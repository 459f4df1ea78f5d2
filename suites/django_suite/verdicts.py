"""Judging a run in a namespace by the same run under plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from . import inherent
from .runs import Difference, Run, comparable, compare

Repeat = Callable[[Sequence[str]], Mapping[str, Counter[tuple[str, ...]]]]
"""Has plain Python repeat tests; see ``Results.repeated``."""


@dataclass(frozen=True)
class Varying:
    """A difference that is none: repeated, plain Python has the outcome of the namespace, too."""

    difference: Difference
    plain: Counter[tuple[str, ...]]

    def __str__(self) -> str:
        counts = [f"{_words(outcome)} {count} times" for outcome, count in self.plain.most_common()]
        return (
            f"`{self.difference.test}`: {_words(self.difference.namespace)} in a namespace; "
            f"under plain Python {', '.join(counts)}"
        )


@dataclass(frozen=True)
class Verdict:
    """The differences of one run, sorted.

    ``stale`` are tests that are listed as inherent, were run, and do not differ; ``faults`` say why
    the tests are not all there are.
    """

    tests: int
    inherent: Sequence[Difference]
    varying: Sequence[Varying]
    unexplained: Sequence[Difference]
    stale: Sequence[str]
    faults: Sequence[str]

    @property
    def same(self) -> int:
        """The number of tests with the same outcome in both worlds."""
        return self.tests - len(self.inherent) - len(self.varying) - len(self.unexplained)

    @property
    def passed(self) -> bool:
        return not self.unexplained and not self.stale and not self.faults

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from self.faults
        yield from map(str, self.varying)
        yield from map(str, self.unexplained)
        yield from (
            f"{test} is in {inherent.FILE.name} and does not differ: take it out"
            for test in self.stale
        )


def judge(plain: Run, run: Run, repeat: Repeat, *, beside: bool = False) -> Verdict:
    """Tell the inherent from the unexplained differences, and from what varies in any case.

    ``beside`` says that another copy was in the process.
    """
    listed = inherent.tests(run.suite.series, beside=beside)
    certain = inherent.tests(run.suite.series, beside=beside, always=True)
    differences = compare(plain, run)
    others = [item for item in differences if item.test not in listed]
    again = repeat([item.test for item in others]) if others else {}
    varying = [
        Varying(item, again[item.test])
        for item in others
        if tuple(item.namespace) in again[item.test]
    ]
    known = {item.difference.test for item in varying}
    return Verdict(
        len(comparable(plain, run)),
        [item for item in differences if item.test in listed],
        varying,
        [item for item in others if item.test not in known],
        sorted(certain & run.outcomes.keys() - {item.test for item in differences}),
        [item.fault for item in (plain, run) if item.fault],
    )


def _words(outcome: Sequence[str]) -> str:
    return ", ".join(outcome) or "not run"
