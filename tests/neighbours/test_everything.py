"""What ``bench.everything`` would say: its bars, on figures that are made up."""

from __future__ import annotations

import math

from bench.everything.neighbours import NOBODY, Answers, Figures, Loss
from bench.everything.verdicts import (
    judge_losses,
    judge_machine,
    judge_shown,
    judge_times,
)


def _figures(p99: float) -> Figures:
    return Figures(100, 0, 1.0, p99, p99)


def _broken(at: float, count: int) -> list[Loss]:
    return [Loss("a page", at, "reset", True)] * count


def test_p99_may_be_200_ms_more_or_twice_as_high() -> None:
    for quiet, good, bad in ((10, 209, 211), (300, 599, 601)):
        assert not judge_times({"a page": _figures(quiet)}, {"a page": _figures(good)})
        assert judge_times({"a page": _figures(quiet)}, {"a page": _figures(bad)})


def test_who_asks_nobody_is_not_judged_and_tells_of_other_work() -> None:
    quiet, hostile = {NOBODY: _figures(1)}, {NOBODY: _figures(900)}
    assert not judge_times(quiet, hostile)
    assert len(judge_machine({"quiet": quiet, "hostile": hostile})) == 1


def test_what_is_lost_is_the_slowest_of_all() -> None:
    answers = Answers({"a page": [(0.0, 5.0)] * 98}, _broken(1.0, 2))
    figures = answers.figures("a page")
    assert (figures.answers, figures.lost, figures.p50) == (98, 2, 5.0)
    assert figures.p99 == figures.longest == math.inf
    assert judge_times({"a page": _figures(1)}, {"a page": figures})


def test_a_death_forgives_the_connections_that_there_were_and_no_more() -> None:
    assert not judge_losses(_broken(10.1, 3), [10.0], visitors=3)
    assert judge_losses(_broken(10.1, 4), [10.0], visitors=3) == ["a page lost 1: reset"]
    assert not judge_losses(_broken(10.1, 4), [10.0, 10.2], visitors=3)


def test_a_death_forgives_nothing_at_another_time() -> None:
    assert judge_losses(_broken(20.0, 1), [10.0], visitors=3)
    assert judge_losses(_broken(20.0, 1))


def test_a_death_forgives_no_answer_of_503_and_no_silence() -> None:
    lost = [Loss("a page", 10.0, "status 503", False)]
    assert judge_losses(lost, [10.0], visitors=3) == ["a page lost 1: status 503"]


def test_a_kind_of_which_nothing_came_has_shown_nothing() -> None:
    shown = {"hangs": {"hung"}, "folders": {"500", "503"}}
    assert not judge_shown(shown, {"hangs": {"hung": 3}, "folders": {"503": 1, "200": 9}})
    assert judge_shown(shown, {"hangs": {"hung": 0}, "folders": {"200": 9}}) == [
        "hangs never came to hung",
        "folders never came to 500 or 503",
    ]
