"""``python -m suites.django_suite``: Django's own test suite, in both worlds, as a table.

The whole suite of each release that the interpreter supports, alone, then two of them beside each
other. What is finished is kept: started again after an interruption, it goes on where it was. Exit
status 1 if a difference is unexplained.
"""

from __future__ import annotations

import argparse
import functools
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.folders import threads_can_have_folders
from tests.integration.cache import cache_folder

from . import table
from .results import Origin, Results
from .suites import LABELS, Suite, all_labels, parts, suite, supported
from .verdicts import Verdict, judge

_BESIDE: Final = "5.2+6.1"


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything that the options ask for; returns the exit status."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end with what there is
    folder = cache_folder() / "django-suite"
    results, rows = Results(folder / "runs"), folder / "rows"
    passed = True
    try:
        for series in [] if options.table else options.series:
            suites = [suite(item) for item in series.split("+")]
            passed &= _compare(suites, options.short, options.parts, results, rows)
    except KeyboardInterrupt:
        passed = False
    print(f"\n{table.markdown(rows)}")
    return 0 if passed else 1


def _compare(
    suites: Sequence[Suite], short: bool, count: int, results: Results, rows: Path
) -> bool:
    """Run suites at the same time, part by part; keeps a row for each of them."""
    beside = len(suites) > 1
    verdicts: dict[Suite, list[Verdict]] = {item: [] for item in suites}
    origins: list[Origin] = []
    name = f"{len(LABELS)} labels" if short else "all"
    batches = [parts(item, LABELS if short else all_labels(item), count) for item in suites]
    for number, together in enumerate(zip(*batches, strict=True), 1):
        plains = [results.plain(part).runs[0] for part in together]
        measured = results.in_namespaces(together)
        origins.append(measured.origin)
        so_far = name if number == count else f"{name}, {number} of {count} parts"
        for plain, run in zip(plains, measured.runs, strict=True):
            repeat = functools.partial(results.repeated, run.suite, company=beside)
            verdict = judge(plain, run, repeat, beside=beside)
            verdicts[run.suite].append(verdict)
            others = [item.version for item in suites if item is not run.suite]
            title = " beside ".join([run.suite.version, *others])
            row = table.row(title, so_far, verdicts[run.suite], origins)
            table.keep(row, name, rows)
            print(*filter(None, [str(verdict), str(row)]), sep="\n", flush=True)
    return all(verdict.passed for judged in verdicts.values() for verdict in judged)


def _parser() -> argparse.ArgumentParser:
    series = supported()
    if set(_BESIDE.split("+")) <= set(series) and threads_can_have_folders():
        series.append(_BESIDE)
    parser = argparse.ArgumentParser(prog="python -m suites.django_suite", description=__doc__)
    parser.add_argument(
        "--series", nargs="*", default=series, help="+ for beside each other; default: %(default)s"
    )
    parser.add_argument(
        "--short", action="store_true", help=f"only the {len(LABELS)} labels that matter most"
    )
    parser.add_argument(
        "--parts", type=int, default=20, metavar="N", help="processes, one after another"
    )
    parser.add_argument("--table", action="store_true", help="only show what there is")
    return parser


if __name__ == "__main__":
    sys.exit(main())
