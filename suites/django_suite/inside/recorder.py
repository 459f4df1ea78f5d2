"""Writes JSON lines: the world that the suite runs in, then the outcome of each test."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
import unittest
from pathlib import Path
from types import TracebackType
from typing import Any

import django
from django.test.runner import DiscoverRunner

_FILE = os.environ["SUITE_OUTCOMES"]
_Error = tuple[type[BaseException], BaseException, TracebackType]


def write(line: dict[str, object]) -> None:
    """Append one line. Opened for each: a child that a test forks has no buffer to write twice."""
    with open(_FILE, "a") as file:
        file.write(json.dumps(line) + "\n")


def write_world() -> None:
    """Say whose modules, environment and Django these are; who started us knows what to expect."""
    interpreter: Any = vars(threading)["_sys"]  # shared code has the interpreter's own
    here = Path(sys.prefix).resolve()
    world = {
        "django": django.get_version(),
        "django_of_venv": Path(django.__file__).resolve().is_relative_to(here),
        "finds_gateway": importlib.util.find_spec("gateway") is not None,
        "has_variable_of_host": "SUITE_HOST" in os.environ,
        "interpreter_runs_gateway": "gateway.namespace" in interpreter.modules,
        "modules_of_interpreter": sys.modules is interpreter.modules,
        "path_beside": [
            entry
            for entry in sys.path
            if "site-packages" in entry and not Path(entry).resolve().is_relative_to(here)
        ],
    }
    write({"world": world})


class Result(unittest.TextTestResult):
    """Writes outcomes as well as showing them."""

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self._write(test, "ok")

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._write(test, "error", err)

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._write(test, "fail", err)

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self._write(test, "skip")

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._write(test, "expected failure")

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self._write(test, "unexpected success")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            failed = issubclass(err[0], test.failureException)
            self._write(test, "subtest fail" if failed else "subtest error", err)

    def _write(self, test: Any, outcome: str, err: _Error | None = None) -> None:
        line = {"test": test.id(), "outcome": outcome}
        if err is not None:
            line["why"] = self._exc_info_to_string(err, test)  # type: ignore[attr-defined]
        write(line)


class Runner(DiscoverRunner):  # type: ignore[misc]
    """Django's runner with our result."""

    def get_resultclass(self) -> type[unittest.TextTestResult]:
        return Result
