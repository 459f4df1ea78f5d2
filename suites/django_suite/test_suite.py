"""A part of Django's own test suite comes out in a namespace as it does under plain Python."""

from __future__ import annotations

import functools
import os
import site
from pathlib import Path

import pytest

from tests.folders import needs_folders
from tests.integration.servers import REPOSITORY

from . import inherent
from .results import Results
from .runs import Run
from .suites import BESIDE, SUBSET, Part, Suite, UnavailableError, suite, supported
from .verdicts import judge

# The first run has to download and to install first.
pytestmark = pytest.mark.timeout(2400)


def get(series: str) -> Suite:
    """The suite of a series; skips the test, or fails it where nothing may be skipped."""
    try:
        return suite(series)
    except UnavailableError as exc:
        if os.environ.get("GATEWAY_REQUIRE_SERVICES") == "1":
            raise
        pytest.skip(str(exc).splitlines()[0])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Runs of this run of the tests only."""
    return Results(tmp_path_factory.mktemp("django-suite"))


@pytest.fixture(scope="module")
def part() -> Part:
    """The subset, of the newest Django that there is for this interpreter."""
    return Part(get(max(supported(), key=float)), SUBSET)


@pytest.fixture(scope="module")
def plain(results: Results, part: Part) -> Run:
    """The subset under plain Python."""
    return results.plain(part).runs[0]


@pytest.fixture(scope="module")
def namespace(results: Results, part: Part) -> Run:
    """The same in a namespace."""
    return results.in_namespaces([part]).runs[0]


def test_plain_python_is_the_world_without_a_gateway(plain: Run) -> None:
    assert plain.world == {
        "django": plain.suite.version,
        "django_of_venv": True,
        "finds_gateway": False,
        "has_variable_of_host": False,
        "interpreter_runs_gateway": False,
        "modules_of_interpreter": True,
        "path_beside": [],
    }


def test_the_other_world_really_is_a_namespace(namespace: Run) -> None:
    assert namespace.world == {
        "django": namespace.suite.version,
        "django_of_venv": True,  # not the gateway's, which lies in its own site-packages
        "finds_gateway": False,
        "has_variable_of_host": False,
        "interpreter_runs_gateway": True,
        "modules_of_interpreter": False,
        "path_beside": [],
    }
    assert not any(namespace.suite.venv.is_relative_to(root) for root in site.getsitepackages())


def test_every_test_comes_out_the_same(results: Results, plain: Run, namespace: Run) -> None:
    assert len(plain.outcomes) > 1000
    repeat = functools.partial(results.repeated, plain.suite, company=False)
    verdict = judge(plain, namespace, repeat)
    assert verdict.passed, str(verdict)


@pytest.mark.skipif("6.1" not in supported(), reason="Django 6.1 wants Python 3.12")
@needs_folders
def test_two_djangos_beside_each_other_do_not_disturb_each_other(results: Results) -> None:
    parts = [Part(get("5.2"), BESIDE), Part(get("6.1"), BESIDE)]
    runs = results.in_namespaces(parts).runs
    assert [run.world["django"] for run in runs] == [part.suite.version for part in parts]
    for part, run in zip(parts, runs, strict=True):
        repeat = functools.partial(results.repeated, part.suite, company=True)
        verdict = judge(results.plain(part).runs[0], run, repeat, beside=True)
        assert verdict.passed, str(verdict)


def test_what_is_finished_is_not_run_again(part: Part, tmp_path: Path) -> None:
    results, few = Results(tmp_path), Part(part.suite, ("dispatch",))
    assert results.plain(few).runs[0].outcomes
    (file,) = tmp_path.glob("*/outcomes-0.jsonl")
    file.write_text(file.read_text().replace('"ok"', '"kept"'))
    assert {*map(tuple, results.plain(few).runs[0].outcomes.values())} == {("kept",)}
    (note,) = tmp_path.glob("*/origin.json")
    note.unlink()  # as if it had been cut short
    assert {*map(tuple, results.plain(few).runs[0].outcomes.values())} == {("ok",)}


def test_the_documentation_lists_what_differs() -> None:
    assert inherent.markdown() in (REPOSITORY / "docs" / "namespaces.md").read_text()


def test_nothing_is_listed_twice() -> None:
    tests = [test for entry in inherent.listed() for test in entry.tests]
    assert len(tests) == len(set(tests))
