"""Whether the gateway answers what gunicorn answered before and after it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from .projects import BuiltProject
from .visits import Answer, Question

_TOKENS: Final = re.compile(rb"\w+|\W")
_HEADINGS: Final = (
    "Project | Version | Django | Requests | Same status | Stable | Same bytes"
    " | Same but for what varies | Other"
)


class Verdict(StrEnum):
    """What can be said of one body."""

    SAME = "same bytes"
    """gunicorn answered twice the same, and the gateway answered that."""
    SAME_BUT = "the same but for what varies"
    """gunicorn's answers differ in words (tokens, times); all other words are the gateway's too."""
    UNSTABLE = "unstable"
    """gunicorn's answers differ in more than words: nothing to compare with."""
    DIFFERENT = "different"
    """The gateway says something that gunicorn does not."""


@dataclass
class Comparison:
    """What came of one project."""

    built: BuiltProject
    requests: int = 0
    same_status: int = 0
    bodies: Counter[Verdict] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    unstable: list[str] = field(default_factory=list)

    def add(self, question: Question, before: Answer, gateway: Answer, after: Answer) -> None:
        """Take in the answers to one question."""
        self.requests += 1
        for name in ("status", "content_type", "location"):
            old, ours, new = (getattr(answer, name) for answer in (before, gateway, after))
            if ours not in (old, new):
                self.differences.append(f"{question}: {name} {ours!r}, not {old!r}")
        self.same_status += gateway.status in (before.status, after.status)
        verdict = judge(before.body, gateway.body, after.body)
        self.bodies[verdict] += 1
        if verdict is Verdict.DIFFERENT:
            first = first_difference(before.body, gateway.body, after.body)
            self.differences.append(f"{question}: {first}")
        elif verdict is Verdict.UNSTABLE:
            self.unstable.append(str(question))


def judge(before: bytes, ours: bytes, after: bytes) -> Verdict:
    """Compare a body with what gunicorn sent before and after."""
    if before == after:
        return Verdict.SAME if ours == before else Verdict.DIFFERENT
    bodies = [_TOKENS.findall(body) for body in (before, ours, after)]
    if len(bodies[0]) != len(bodies[2]):
        return Verdict.UNSTABLE
    if len(bodies[1]) != len(bodies[0]):
        return Verdict.DIFFERENT
    same = all(ours == old for old, ours, new in zip(*bodies, strict=True) if old == new)
    return Verdict.SAME_BUT if same else Verdict.DIFFERENT


def first_difference(before: bytes, ours: bytes, after: bytes) -> str:
    """Where a body leaves what gunicorn sent, for a message."""
    bodies = [_TOKENS.findall(body) for body in (before, ours, after)]
    position = 0
    for old, mine, new in zip(*bodies, strict=False):
        if old == new != mine:
            break
        position += len(old)
    around = slice(max(position - 80, 0), position + 160)
    return f"{ours[around]!r} instead of {before[around]!r}"


def table(comparisons: Mapping[str, Comparison]) -> str:
    """All results, for the documentation."""
    rows = [_HEADINGS, " | ".join(["---"] * len(_HEADINGS.split("|")))]
    for comparison in comparisons.values():
        built, bodies = comparison.built, comparison.bodies
        distribution = built.project.distribution
        stable = comparison.requests - bodies[Verdict.SAME_BUT] - bodies[Verdict.UNSTABLE]
        cells = (
            distribution,
            built.versions[distribution],
            built.versions["django"],
            comparison.requests,
            comparison.same_status,
            stable,
            bodies[Verdict.SAME],
            bodies[Verdict.SAME_BUT],
            bodies[Verdict.UNSTABLE],
        )
        rows.append(" | ".join(map(str, cells)))
    return "\n".join(f"| {row} |" for row in rows)
