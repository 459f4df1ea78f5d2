"""``python -m tests.django_suite``: the whole of it, as a table. It takes an hour or more.

Every series of Django that the interpreter supports, alone and two of them beside each other, with
the labels that matter most; then the whole suites. Exit status 1 if a difference is unexplained.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .inherent import Verdict, judge
from .runs import Run, compare, merged, run_in_namespaces, run_plain, threads_can_have_folders
from .suites import LABELS, Suite, parts, suite, supported

_WHOLE: Final = ("5.2", "6.1")
_BESIDE: Final = ("5.2", "6.1")
_TIMEOUT: Final = 7200.0
_COLUMNS: Final = ("Django", "Labels", "Tests", "Same", "Inherent", "Unexplained")


@dataclass
class Report:
    """Rows of the table, printed as they come; what they are based on stays in ``folder``."""

    folder: Path
    rows: list[tuple[str, ...]] = field(default_factory=list)
    passed: bool = True

    def alone(self, item: Suite, batches: Sequence[Sequence[str]], name: str) -> Run:
        """Compare a suite with itself, batch by batch; returns what plain Python made of it."""
        plains, runs = [], []
        for number, labels in enumerate(batches):
            folder = self.folder / f"{item.series}-{len(self.rows)}-{number}"
            plains.append(run_plain(item, labels, folder / "plain", _TIMEOUT))
            runs += run_in_namespaces([item], labels, folder / "namespace", _TIMEOUT)
        plain, run = merged(plains), merged(runs)
        self._add(judge(run, compare(plain, run)), item.version, name)
        return plain

    def beside(self, plains: Sequence[Run], labels: Sequence[str], name: str) -> None:
        """Run the suites of ``plains`` at the same time in one process, and compare each."""
        suites = [plain.suite for plain in plains]
        runs = run_in_namespaces(suites, labels, self.folder / "beside", _TIMEOUT)
        for plain, run in zip(plains, runs, strict=True):
            others = [item.version for item in suites if item is not run.suite]
            title = f"{run.suite.version} beside {' and '.join(others)}"
            self._add(judge(run, compare(plain, run), beside=True), title, name)

    def _add(self, verdict: Verdict, title: str, name: str) -> None:
        counts = (
            len(verdict.run.outcomes),
            verdict.same,
            len(verdict.inherent),
            len(verdict.unexplained),
        )
        row = (title, name, *map(str, counts))
        self.rows.append(row)
        self.passed &= verdict.passed
        print(verdict, _line(row), sep="\n", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything that the options ask for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.django_suite", description=__doc__)
    parser.add_argument("--series", nargs="*", default=supported(), help="default: %(default)s")
    parser.add_argument(
        "--parts",
        type=int,
        default=1,
        metavar="N",
        help="run the whole suites in N parts, which is much faster; 0 leaves them out",
    )
    parser.add_argument("--folder", type=Path, default=Path(".cache/django-suite"))
    options = parser.parse_args(argv)
    folder = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    report = Report(folder)
    suites = [suite(series) for series in options.series]
    name = f"{len(LABELS)} labels"
    plains = [report.alone(item, [LABELS], name) for item in suites]
    pair = [plain for plain in plains if plain.suite.series in _BESIDE]
    if len(pair) == len(_BESIDE) and threads_can_have_folders():
        report.beside(pair, LABELS, name)
    for item in suites:
        if item.series in _WHOLE and options.parts:
            name = "all" if options.parts == 1 else f"all, in {options.parts} parts"
            report.alone(item, parts(item, options.parts), name)
    print(f"\nPython {sys.version.split()[0]}, {time.strftime('%Y-%m-%d')}\n")
    print(_line(_COLUMNS), _line("---" for _ in _COLUMNS), *map(_line, report.rows), sep="\n")
    return 0 if report.passed else 1


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
