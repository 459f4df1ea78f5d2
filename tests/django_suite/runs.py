"""One run of a suite in one of the two worlds, and what came of each test."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.integration.programs import plain_environ
from tests.integration.servers import REPOSITORY

from .suites import Suite

_INSIDE: Final = Path(__file__).parent / "inside"
_ADDRESS: Final = re.compile(r"\b0x[0-9a-f]+")

Outcomes = Mapping[str, Sequence[str]]
"""What became of a test, by its id. More than one thing if subtests failed."""


@dataclass(frozen=True)
class Run:
    """What one copy of a suite wrote; ``reasons`` are the tracebacks of what failed."""

    suite: Suite
    world: Mapping[str, Any]
    outcomes: Outcomes
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class Difference:
    """A test whose outcome is another one in a namespace."""

    test: str
    plain: Sequence[str]
    namespace: Sequence[str]
    reason: str

    def __str__(self) -> str:
        expected, got = (", ".join(item) or "not run" for item in (self.plain, self.namespace))
        return f"{self.test}: {expected} under plain Python, {got} in a namespace\n{self.reason}"


def run_plain(suite: Suite, labels: Sequence[str], folder: Path, timeout: float) -> Run:
    """Run a suite under the interpreter of its virtual environment.

    Raises ``AssertionError`` if it does not come to its end within ``timeout`` seconds.
    """
    _link(folder, [suite])
    environ = _environ(folder, "0", suite.series)
    python = folder / "venv-0" / "bin" / "python"
    command = [python, _INSIDE / "main.py", *_arguments(folder, "0", labels)]
    return _read(folder, 0, suite, _run(command, folder, environ, timeout))


def run_in_namespaces(
    suites: Sequence[Suite], labels: Sequence[str], folder: Path, timeout: float
) -> list[Run]:
    """Run suites in one process, each in a namespace of its own, all at the same time.

    Raises ``AssertionError`` as ``run_plain`` does.
    """
    _link(folder, suites)
    series = "{copy}" if len(suites) > 1 else suites[0].series
    environ = _environ(folder, "{copy}", series)
    command: list[str | Path] = [sys.executable, "-m", "gateway.namespace"]
    command += ["--venv", folder / "venv-{copy}", "--path", _INSIDE, "--copies", str(len(suites))]
    for key, value in environ.items():
        command += ["--env", f"{key}={value}"]
    command += [_INSIDE / "main.py", *_arguments(folder, "{copy}", labels)]
    host = plain_environ(
        PYTHONHASHSEED=environ["PYTHONHASHSEED"],
        PYTHONPATH=str(REPOSITORY),
        SUITE_HOST="1",
        TZ=environ["TZ"],
    )
    status = _run(command, folder, host, timeout)
    return [_read(folder, copy, suite, status) for copy, suite in enumerate(suites)]


def threads_can_have_folders() -> bool:
    """Whether the system lets a thread have a working directory of its own, as two copies need."""
    allowed = []

    def try_it() -> None:
        with contextlib.suppress(AttributeError, PermissionError):
            os.unshare(os.CLONE_FS)
            allowed.append(True)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return bool(allowed)


def merged(runs: Sequence[Run]) -> Run:
    """One run for those of the parts of a suite."""
    outcomes: dict[str, Sequence[str]] = {}
    reasons: dict[str, str] = {}
    for run in runs:
        outcomes.update(run.outcomes)
        reasons.update(run.reasons)
    return Run(runs[0].suite, runs[0].world, outcomes, reasons)


def compare(plain: Run, namespace: Run) -> list[Difference]:
    """Every test with another outcome, or that only one of the runs has."""
    return [
        Difference(
            test,
            plain.outcomes.get(test, ()),
            namespace.outcomes.get(test, ()),
            namespace.reasons.get(test) or plain.reasons.get(test, ""),
        )
        for test in dict.fromkeys([*plain.outcomes, *namespace.outcomes])
        if plain.outcomes.get(test) != namespace.outcomes.get(test)
    ]


def _link(folder: Path, suites: Sequence[Suite]) -> None:
    folder.mkdir(parents=True)
    for copy, suite in enumerate(suites):
        (folder / f"django-{copy}").symlink_to(suite.tests.parent)
        (folder / f"venv-{copy}").symlink_to(suite.venv)


def _environ(folder: Path, copy: str, name: str) -> dict[str, str]:
    environ = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return {
        **environ,
        "DJANGO_SETTINGS_MODULE": "suite_settings",
        "PYTHONHASHSEED": "0",  # the order of sets must not be a difference
        "PYTHONPATH": str(_INSIDE),
        "SUITE_COPY": name,
        "SUITE_OUTCOMES": str(folder / f"outcomes-{copy}.jsonl"),
        # The zone of Django's default settings, to which plain Python is set in any case.
        "TZ": "America/Chicago",
    }


def _arguments(folder: Path, copy: str, labels: Sequence[str]) -> list[str | Path]:
    script = folder / f"django-{copy}" / "tests" / "runtests.py"
    return [script, "--parallel=1", "--noinput", *labels]


def _run(
    command: Sequence[str | Path],
    folder: Path,
    environ: Mapping[str, str],
    timeout: float,
) -> int:
    with (folder / "output.txt").open("wb") as output:
        try:
            done = subprocess.run(
                [str(part) for part in command],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise AssertionError(_tail(folder, f"not done after {timeout:.0f} s")) from None
    return done.returncode


def _read(folder: Path, copy: int, suite: Suite, status: int) -> Run:
    path = folder / f"outcomes-{copy}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    if not lines or "end" not in lines[-1]:
        raise AssertionError(
            _tail(folder, f"Django {suite.version} was cut short, status {status}")
        )
    outcomes: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for line in lines[1:-1]:
        test = _ADDRESS.sub("0x…", line["test"])
        outcomes.setdefault(test, []).append(line["outcome"])
        if "why" in line:
            reasons[test] = line["why"]
    return Run(suite, lines[0]["world"], outcomes, reasons)


def _tail(folder: Path, message: str) -> str:
    output = (folder / "output.txt").read_text(errors="replace")
    return f"{message}; the end of {folder / 'output.txt'}:\n{output[-4000:]}"
