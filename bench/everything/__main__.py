"""Everything at once that one site can do, and what its neighbours notice.

    python -m bench.everything [--seconds 300] [--workers 3] [--only hangs hogs …] [--json FILE]

First comes a *quiet* phase: visitors look at a few sites, and nobody asks for the hostile one. In
the *hostile* phase the same visitors come while the hostile site hangs, takes all threads that it
can get, leaves its folder, raises exceptions that cannot be printed, loses its databases, answers
clients who do not read, and is reloaded. The p99 of each neighbour may be twice that of the quiet
phase, or 200 ms more, and nothing may be lost. With three workers there is a phase of *crashes*:
requests and imports end their processes. It is judged by loss alone, and what was in a killed
worker may be lost. After each of them, everything has to be given back. ``loops`` runs only
if it is asked for: the time of the processor under the GIL belongs to all sites.

*Nobody* is asked for nothing: if its visitor is late, the machine had other work, and times
mean little.

It needs PostgreSQL if databases are to be lost, and for root ``setpriv``.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.everything.course import Course, Phase
from bench.everything.kinds import CRASHES, KINDS, UNUSUAL
from bench.everything.neighbours import NOBODY
from bench.everything.verdicts import bar, judge_machine

_SLOWEST: Final = 5
_BEFORE: Final = 2.0
"""Seconds before a slow answer of which is said what was done to the hostile site."""


def main() -> None:
    """Run it and print the tables; the exit status is 1 if a bar was missed."""
    options = _options()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        course = Course(options, Path(name), stack)
        try:
            phases = course.run(
                {name: KINDS[name] for name in options.only if name in KINDS},
                {name: CRASHES[name] for name in options.only if name in CRASHES},
            )
        finally:
            if options.log:
                options.log.write_text(course.gateway.output)
        _print(course, phases)
        if options.json:
            options.json.write_text(json.dumps(_document(course, phases), indent=2))
    raise SystemExit(any(phase.missed for phase in phases.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.everything",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=300, help="of each phase")
    parser.add_argument("--workers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--only", nargs="+", choices=[*KINDS, *CRASHES])
    parser.add_argument("--json", type=Path, help="a file for all figures")
    parser.add_argument("--log", type=Path, help="a file for what the gateway prints")
    options = parser.parse_args()
    if options.only is None:
        options.only = [name for name in KINDS if name not in UNUSUAL]
        options.only += CRASHES if options.workers > 1 else []
    if options.workers == 1 and (ends := [name for name in options.only if name in CRASHES]):
        parser.error(f"{', '.join(ends)}: only with --workers 3")
    return options


def _print(course: Course, phases: Mapping[str, Phase]) -> None:
    quiet = course.figures(phases["quiet"].answers)
    print(f"{course.seconds:g} s for each phase, workers: {course.workers}\n")
    print("| phase | neighbour | answers | lost | p50 | p99 | longest | p99 may be |")
    print("|---|---|---|---|---|---|---|---|")
    for name, phase in phases.items():
        for neighbour, seen in course.figures(phase.answers).items():
            most = (
                f"{bar(quiet[neighbour]):.0f}" if name == "hostile" and neighbour != NOBODY else ""
            )
            print(
                f"| {name} | {neighbour} | {seen.answers} | {seen.lost} | {seen.p50:.1f} "
                f"| {seen.p99:.1f} | {seen.longest:.0f} | {most} |"
            )
    print("\n| phase | threads | descriptors | MB |\n|---|---|---|---|")
    for name, phase in phases.items():
        held = phase.held
        print(f"| after {name} | {held.threads} | {held.descriptors} | {held.megabytes:.0f} |")
    for name, phase in phases.items():
        if phase.site.diary.outcomes:
            _print_hostility(name, phase)
    print()
    for name, phase in phases.items():
        for what in phase.missed:
            print(f"{name}: MISSED: {what}")
        if not phase.missed:
            print(f"{name}: good")
    figures = {name: course.figures(phase.answers) for name, phase in phases.items()}
    for doubt in judge_machine(figures):
        print(f"DOUBTFUL: {doubt}")


def _print_hostility(name: str, phase: Phase) -> None:
    diary = phase.site.diary
    print(f"\n{name}: what came of it (workers ended: {len(phase.deaths)})")
    for kind, outcomes in diary.outcomes.items():
        print(f"  {kind}: {', '.join(f'{what}: {n}' for what, n in outcomes.most_common())}")
    print(f"{name}: the slowest answers")
    for at, milliseconds, neighbour in phase.answers.slowest(_SLOWEST):
        print(f"  {neighbour}, {milliseconds:.0f} ms at {at - phase.begin:.1f} s")
        begun = at - milliseconds / 1000
        for line in diary.before(begun, _BEFORE):
            print(f"    {line}")


def _document(course: Course, phases: Mapping[str, Phase]) -> dict[str, Any]:
    return {
        "seconds": course.seconds,
        "workers": course.workers,
        "phases": {
            name: {
                "neighbours": {
                    neighbour: {key: _finite(value) for key, value in asdict(seen).items()}
                    for neighbour, seen in course.figures(phase.answers).items()
                },
                "lost": [
                    {**asdict(loss), "at": loss.at - phase.begin} for loss in phase.answers.lost
                ],
                "slowest": [
                    {"at": at - phase.begin, "milliseconds": ms, "name": neighbour}
                    for at, ms, neighbour in phase.answers.slowest(10 * _SLOWEST)
                ],
                "done": [(at - phase.begin, *what) for at, *what in phase.site.diary.done],
                "outcomes": phase.site.diary.outcomes,
                "deaths": [at - phase.begin for at in phase.deaths],
                "held": asdict(phase.held),
                "missed": phase.missed,
            }
            for name, phase in phases.items()
        },
    }


def _finite(value: float) -> float | None:
    """A number that JSON has."""
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    main()
