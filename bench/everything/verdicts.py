"""The bars, and what was missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from bench.everything.neighbours import NOBODY, Figures, Loss

_TIMES: Final = 2.0
_MORE: Final = 200.0
"""The factor and the milliseconds by which p99 may be above that of the quiet phase."""
_LATE: Final = 50.0
"""The milliseconds by which visitors are late on a machine that has other work."""
_AT_A_DEATH: Final = 2.0
"""Seconds around the moment at which a death was seen in which it breaks connections."""


def bar(quiet: Figures) -> float:
    """The milliseconds up to which p99 is good."""
    return max(quiet.p99 * _TIMES, quiet.p99 + _MORE)


def judge_times(quiet: Mapping[str, Figures], hostile: Mapping[str, Figures]) -> list[str]:
    """The neighbours whose p99 is too high."""
    return [
        f"{name}: p99 is {hostile[name].p99:.0f} ms, and may be {bar(quiet[name]):.0f}"
        for name in quiet
        if name != NOBODY and not hostile[name].p99 <= bar(quiet[name])
    ]


def judge_machine(phases: Mapping[str, Mapping[str, Figures]]) -> list[str]:
    """Why the times should not be believed: who asked nobody was late."""
    return [
        f"the machine had other work in the phase {name!r}: "
        f"visitors came up to {seen[NOBODY].p99:.0f} ms late (p99)"
        for name, seen in phases.items()
        if seen[NOBODY].p99 > _LATE
    ]


def judge_losses(
    lost: Iterable[Loss], deaths: Sequence[float] = (), visitors: int = 0
) -> list[str]:
    """What was lost and was not in a killed worker.

    A death may break each connection that there was: as many as there are ``visitors``.
    """
    left = [visitors] * len(deaths)
    unforgiven: Counter[tuple[str, str]] = Counter()
    for loss in sorted(lost, key=lambda loss: loss.at):
        near = [n for n, at in enumerate(deaths) if abs(at - loss.at) < _AT_A_DEATH and left[n]]
        if loss.broken and near:
            left[near[0]] -= 1
        else:
            unforgiven[loss.name, loss.what] += 1
    return [f"{name} lost {n}: {what}" for (name, what), n in unforgiven.most_common()]


def judge_shown(
    shown: Mapping[str, Collection[str]], outcomes: Mapping[str, Mapping[str, int]]
) -> list[str]:
    """The kinds of hostility of which nothing came that had to, so that nothing was shown."""
    return [
        f"{kind} never came to {' or '.join(sorted(wanted))}"
        for kind, wanted in shown.items()
        if not any(outcomes.get(kind, {}).get(each) for each in wanted)
    ]
