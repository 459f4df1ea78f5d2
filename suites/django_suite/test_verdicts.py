"""What the judge makes of two runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from .inherent import tests as inherent_tests
from .results import Origin
from .runs import Run, read
from .suites import Suite
from .table import keep, markdown, row
from .verdicts import Verdict, judge

SUITE = Suite("5.2", Path("tests"), Path("venv"))
INHERENT = "mail.tests.MailTimeZoneTests.test_date_header_localtime"


def run(fault: str = "", **outcomes: str) -> Run:
    """A run with an outcome for each test."""
    return Run(SUITE, {}, {test: [item] for test, item in outcomes.items()}, {}, fault)


def verdict(plain: Run, namespace: Run, again: Mapping[str, Sequence[str]]) -> Verdict:
    """What is made of them if plain Python, asked ``again``, has these outcomes."""

    def repeat(tests: Sequence[str]) -> Mapping[str, Counter[tuple[str, ...]]]:
        assert set(tests) == again.keys()
        return {test: Counter((item,) for item in again[test]) for test in tests}

    return judge(plain, namespace, repeat)


def test_a_difference_that_plain_python_never_has_is_unexplained() -> None:
    result = verdict(run(a="ok", b="ok"), run(a="fail", b="ok"), {"a": ["ok"] * 20})
    assert not result.passed
    assert (result.tests, result.same, len(result.unexplained)) == (2, 1, 1)


def test_a_difference_that_plain_python_has_at_times_is_shown_with_its_numbers() -> None:
    result = verdict(run(a="ok"), run(a="fail"), {"a": ["ok"] * 17 + ["fail"] * 3})
    assert result.passed and result.same == 0
    assert str(result) == "`a`: fail in a namespace; under plain Python ok 17 times, fail 3 times"


def test_a_test_that_only_one_world_has_differs() -> None:
    assert not verdict(run(a="ok", b="ok"), run(a="ok"), {"b": ["ok"]}).passed


def test_what_is_listed_must_differ() -> None:
    assert INHERENT in inherent_tests("5.2", beside=False)
    differs = verdict(run(**{INHERENT: "ok"}), run(**{INHERENT: "fail"}), {})
    assert differs.passed and len(differs.inherent) == 1
    agrees = verdict(run(**{INHERENT: "ok"}), run(**{INHERENT: "ok"}), {})
    assert not agrees.passed and agrees.stale == [INHERENT]


def test_a_run_that_was_cut_short_counts_as_far_as_it_went_but_never_passes() -> None:
    result = verdict(run(a="ok", b="ok"), run(fault="killed", a="ok"), {})
    assert not result.passed and not result.unexplained
    assert (result.tests, result.same) == (1, 1)
    assert str(result) == "killed"


@pytest.mark.parametrize("end", ['{"test": "t.b", "outc', ""])
def test_what_a_killed_run_has_written_is_read(tmp_path: Path, end: str) -> None:
    lines = [{"world": {"django": "5.2.19"}}, {"test": "t.a 0x7f", "outcome": "ok"}]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (tmp_path / "outcomes-0.jsonl").write_text(text + end)
    (tmp_path / "output.txt").write_text("Killed")
    result = read(tmp_path, 0, SUITE, "status -9")
    assert result.outcomes == {"t.a 0x…": ["ok"]}
    assert "status -9" in result.fault and result.fault.endswith("Killed")
    (tmp_path / "outcomes-0.jsonl").write_text(text + '{"end": 1}\n')
    assert read(tmp_path, 0, SUITE).fault == ""


def test_the_table_has_the_last_row_of_each_kind(tmp_path: Path) -> None:
    judged = verdict(run(a="ok", b="ok"), run(a="ok", b="fail"), {"b": ["fail", "ok"]})
    for done in (1, 2):
        verdicts, origins = [judged] * done, [Origin("2026-11-25", f"abc{done}")] * done
        keep(row("5.2.19", f"{done} of 2 parts", verdicts, origins), "all", tmp_path)
    titles, _, line, *varying = markdown(tmp_path).splitlines()
    assert titles.startswith("| Python | Django | Labels | Tests | Same | Inherent | Varying |")
    assert line.endswith("| 5.2.19 | 2 of 2 parts | 4 | 2 | 0 | 2 | 0 | abc2 | 2026-11-25 |")
    assert len(varying) == 3 and "`b`: fail in a namespace" in varying[-1]


def test_the_table_says_that_something_was_cut_short() -> None:
    judged = verdict(run(a="ok", b="ok"), run(fault="killed", a="ok"), {})
    assert "| all, 1 cut short | 1 |" in str(row("5.2.19", "all", [judged], [Origin("", "")]))
