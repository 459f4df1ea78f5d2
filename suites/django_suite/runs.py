"""One run of a suite in one of the two worlds, and what came of each test."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.integration.programs import plain_environ
from tests.integration.servers import REPOSITORY

from .suites import Part, Suite

INSIDE: Final = Path(__file__).parent / "inside"
"""What runs beside ``runtests.py``, in both worlds."""

VARIABLES: Final = {
    "PYTHONHASHSEED": "0",  # the order of sets must not be a difference
    # The zone of Django's default settings. In any other, what comes out depends on the hour: for
    # a part of each day the date in the process is not the one of the settings.
    "TZ": "America/Chicago",
}
"""What every process has in its environment."""

TIMEOUT: Final = 1800.0
"""Seconds for a part. What has not come to its end by then is cut short."""

_ADDRESS: Final = re.compile(r"\b0x[0-9a-f]+")

Outcomes = Mapping[str, Sequence[str]]
"""What became of a test, by its id. More than one thing if subtests failed."""


@dataclass(frozen=True)
class Run:
    """What one copy of a suite wrote; ``reasons`` are the tracebacks of what failed.

    ``fault`` says why the run was cut short, and is empty for one that came to its end.
    """

    suite: Suite
    world: Mapping[str, Any]
    outcomes: Outcomes
    reasons: Mapping[str, str]
    fault: str


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


def run_plain(part: Part, folder: Path, *, company: bool = False) -> Run:
    """Run a part under the interpreter of its virtual environment.

    ``company`` is a second thread that is at work all the time.
    """
    _prepare(folder, [part])
    environ = _environ(folder, "0", part.suite.series)
    if company:
        environ["SUITE_COMPANY"] = "1"
    command = [folder / "venv-0" / "bin" / "python", *_script(folder, "0")]
    fault = _run(command, folder, environ)
    return read(folder, 0, part.suite, fault)


def run_in_namespaces(parts: Sequence[Part], folder: Path) -> list[Run]:
    """Run parts in one process, each in a namespace of its own, all at the same time."""
    _prepare(folder, parts)
    series = "{copy}" if len(parts) > 1 else parts[0].suite.series
    environ = _environ(folder, "{copy}", series)
    command: list[str | Path] = [sys.executable, "-m", "gateway.namespace"]
    command += ["--venv", folder / "venv-{copy}", "--path", INSIDE, "--copies", str(len(parts))]
    for key, value in environ.items():
        command += ["--env", f"{key}={value}"]
    command += _script(folder, "{copy}")
    host = plain_environ(**VARIABLES, PYTHONPATH=str(REPOSITORY), SUITE_HOST="1")
    fault = _run(command, folder, host)
    return [read(folder, copy, part.suite, fault) for copy, part in enumerate(parts)]


def read(folder: Path, copy: int, suite: Suite, fault: str = "") -> Run:
    """What a copy has written into the folder of its run."""
    path = folder / f"outcomes-{copy}.jsonl"
    text = path.read_text() if path.exists() else ""
    # The last line of a run that was killed may be half a line.
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    if lines and "end" in lines[-1]:
        lines.pop()
        fault = ""
    else:
        fault = _tail(folder, f"Django {suite.version} was cut short ({fault})")
    outcomes: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for line in lines[1:]:
        test = _ADDRESS.sub("0x…", line["test"])
        outcomes.setdefault(test, []).append(line["outcome"])
        if "why" in line:
            reasons[test] = line["why"]
    return Run(suite, lines[0]["world"] if lines else {}, outcomes, reasons, fault)


def comparable(plain: Run, namespace: Run) -> list[str]:
    """The tests of either, or of both if one was cut short: what it did not reach is unknown."""
    if plain.fault or namespace.fault:
        return [test for test in plain.outcomes if test in namespace.outcomes]
    return list(dict.fromkeys([*plain.outcomes, *namespace.outcomes]))


def compare(plain: Run, namespace: Run) -> list[Difference]:
    """Every test with another outcome, or that only one of the runs has."""
    return [
        Difference(
            test,
            plain.outcomes.get(test, ()),
            namespace.outcomes.get(test, ()),
            namespace.reasons.get(test) or plain.reasons.get(test, ""),
        )
        for test in comparable(plain, namespace)
        if plain.outcomes.get(test) != namespace.outcomes.get(test)
    ]


def _prepare(folder: Path, parts: Sequence[Part]) -> None:
    folder.mkdir(parents=True)
    for copy, part in enumerate(parts):
        (folder / f"django-{copy}").symlink_to(part.suite.tests.parent)
        (folder / f"venv-{copy}").symlink_to(part.suite.venv)
        arguments = ["--parallel=1", "--noinput", *part.labels]
        (folder / f"arguments-{copy}").write_text("\n".join(arguments))


def _environ(folder: Path, copy: str, name: str) -> dict[str, str]:
    environ = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return {
        **environ,
        **VARIABLES,
        "DJANGO_SETTINGS_MODULE": "suite_settings",
        "PYTHONPATH": str(INSIDE),
        "SUITE_COPY": name,
        "SUITE_OUTCOMES": str(folder / f"outcomes-{copy}.jsonl"),
    }


def _script(folder: Path, copy: str) -> list[Path]:
    script = folder / f"django-{copy}" / "tests" / "runtests.py"
    return [INSIDE / "main.py", script, folder / f"arguments-{copy}"]


def _run(command: Sequence[str | Path], folder: Path, environ: Mapping[str, str]) -> str:
    """Run it; returns how it ended, for people."""
    with (folder / "output.txt").open("wb") as output:
        try:
            done = subprocess.run(
                [str(part) for part in command],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return f"not done after {TIMEOUT:.0f} s"
    return f"status {done.returncode}"


def _tail(folder: Path, message: str) -> str:
    output = (folder / "output.txt").read_text(errors="replace")
    return f"{message}; the end of {folder / 'output.txt'}:\n{output[-4000:]}"
