"""Runs that are kept: what has been measured of the same code is not measured again."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.integration.servers import REPOSITORY

from .runs import INSIDE, VARIABLES, Run, read, run_in_namespaces, run_plain
from .suites import Part, Suite

TIMES: Final = 20
"""How often plain Python has to repeat a test that came out otherwise in a namespace."""


@dataclass(frozen=True)
class Origin:
    """When something was measured, and at which commit of the repository."""

    date: str
    commit: str


@dataclass(frozen=True)
class Measured:
    """Runs that took place in one process, a copy of a suite each."""

    runs: Sequence[Run]
    origin: Origin


class Results:
    """Results in ``folder``, measured when they are asked for and not there yet.

    A run is known by all that it depends on: the interpreter, the suite and its environment, the
    labels, the variables, the files of the harness that run beside the tests, and for one in
    namespaces the source of these. One that was cut short is not kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def plain(self, part: Part, *, company: bool = False, nth: int = 0) -> Measured:
        """A part under plain Python, for the ``nth`` time; see ``run_plain``."""
        folder = self._of("plain", [part], (str(company), str(nth)))
        return _kept(folder, [part], lambda: [run_plain(part, folder, company=company)])

    def in_namespaces(self, parts: Sequence[Part]) -> Measured:
        """Parts at the same time in one process; see ``run_in_namespaces``."""
        sources = (REPOSITORY / "gateway" / "namespace").glob("*.py")
        folder = self._of("namespace", parts, _texts(sources))
        return _kept(folder, parts, lambda: run_in_namespaces(parts, folder))

    def repeated(
        self, suite: Suite, tests: Sequence[str], *, company: bool
    ) -> Mapping[str, Counter[tuple[str, ...]]]:
        """How often which outcome each test has, ``TIMES`` times under plain Python."""
        part = Part(suite, tuple(tests))
        repetitions = range(1, TIMES + 1)
        runs = [self.plain(part, company=company, nth=n).runs[0] for n in repetitions]
        return {test: Counter(tuple(run.outcomes.get(test, ())) for run in runs) for test in tests}

    def _of(self, world: str, parts: Sequence[Part], more: Iterable[str]) -> Path:
        what = [(part.suite.tests.parent.name, part.suite.venv.name, part.labels) for part in parts]
        inside = _texts(INSIDE.glob("*.py"))
        text = json.dumps([sys.version, VARIABLES, what, inside, list(more)])
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        versions = "-".join(part.suite.version for part in parts)
        return self._folder / f"{world}-{versions}-{key}"


def _kept(folder: Path, parts: Sequence[Part], measure: Callable[[], list[Run]]) -> Measured:
    note = folder / "origin.json"
    if note.exists():
        runs = [read(folder, copy, part.suite) for copy, part in enumerate(parts)]
        return Measured(runs, Origin(**json.loads(note.read_text())))
    shutil.rmtree(folder, ignore_errors=True)
    origin = Origin(time.strftime("%Y-%m-%d"), _commit())
    runs = measure()
    if not any(run.fault for run in runs):
        note.write_text(json.dumps(vars(origin)))
    return Measured(runs, origin)


def _texts(paths: Iterable[Path]) -> list[str]:
    return [f"{path.name}\n{path.read_text()}" for path in sorted(paths)]


def _commit() -> str:
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
