"""Whether the gateway answers what gunicorn answers."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Final

from .projects import BuiltProject
from .visits import Answer, Question

_TOKENS: Final = re.compile(rb"\d+(?::\d+)+|\w+|\W")
"""Words. The time of day is one: its seconds alone may be the same by chance."""
_ELEMENTS: Final = re.compile(rb"[^>\n]+[>\n]?|[>\n]")
"""Tags and lines, which are compared first: there are fewer of them than words."""
_ROOM: Final = 10
"""Bytes that a third way to say something may be longer than two known ones."""
_HEADINGS: Final = (
    "Project | Version | Django | Requests | Same status | Stable | Same bytes"
    " | Same but for what varies | Different"
)


class Verdict(StrEnum):
    """What can be said of one body."""

    SAME = "same bytes"
    """gunicorn answered the same before and after, and the gateway answered that."""
    SAME_BUT = "the same but for what varies"
    """gunicorn's answers differ in words (tokens, times); all other words are the gateway's too."""
    DIFFERENT = "different"
    """The gateway says something that gunicorn does not."""


@dataclass
class Comparison:
    """The answers to all questions about one project: gunicorn's, each time, and the gateway's."""

    built: BuiltProject
    gunicorn: dict[Question, list[Answer]] = field(default_factory=dict)
    gateway: dict[Question, Answer] = field(default_factory=dict)

    @property
    def same_status(self) -> int:
        """How many questions the gateway answers with a status that gunicorn gave."""
        return sum(
            ours.status in {answer.status for answer in self.gunicorn[question]}
            for question, ours in self.gateway.items()
        )

    @property
    def verdicts(self) -> dict[Question, Verdict]:
        """What can be said of each body."""
        return {
            question: judge(ours.body, [answer.body for answer in self.gunicorn[question]])
            for question, ours in self.gateway.items()
        }

    def suspects(self) -> list[Question]:
        """Where the gateway's answer is none of gunicorn's, as far as they are known."""
        return [question for question, _ in self._differences()]

    def differences(self) -> list[str]:
        """The same, in words."""
        return [f"{question}: {what}" for question, what in self._differences()]

    def _differences(self) -> Iterator[tuple[Question, str]]:
        verdicts = self.verdicts
        for question, ours in self.gateway.items():
            theirs = self.gunicorn[question]
            for name in ("status", "content_type", "location"):
                known = {getattr(answer, name) for answer in theirs}
                if getattr(ours, name) not in known:
                    yield question, f"{name} {getattr(ours, name)!r}, not one of {known}"
                    break
            else:
                if verdicts[question] is Verdict.DIFFERENT:
                    bodies = [answer.body for answer in theirs]
                    yield question, _first_difference(ours.body, bodies)


def judge(ours: bytes, theirs: Sequence[bytes]) -> Verdict:
    """Compare a body with what gunicorn sent before and after it, and then perhaps again.

    A word may differ if gunicorn's own differ before and after, or if gunicorn has said it at this
    place some other time. Where two of gunicorn's differ in their number of words ("now", "1 minute
    ago"), what they have in common has to be there, in this order and with no more in between.
    """
    if ours == theirs[0] == theirs[1]:
        return Verdict.SAME
    before, *others = theirs
    fits = _fits_word_by_word(ours, theirs) or any(
        re.fullmatch(_in_common(before, other), ours, re.DOTALL)
        for other in others
        if len(_TOKENS.findall(before)) != len(_TOKENS.findall(other))
    )
    return Verdict.SAME_BUT if fits else Verdict.DIFFERENT


def _fits_word_by_word(ours: bytes, theirs: Sequence[bytes]) -> bool:
    before, after, *further = map(_TOKENS.findall, theirs)
    words = _TOKENS.findall(ours)
    if not len(words) == len(before) == len(after):
        return False
    further = [body for body in further if len(body) == len(before)]
    return all(
        old != new or word in {old, *others}
        for word, old, new, *others in zip(words, before, after, *further, strict=True)
    )


@functools.cache
def _in_common(before: bytes, after: bytes) -> bytes:
    """A pattern of what two bodies have in common, with room for what they have not."""
    pattern = b""
    for old, new in _blocks(_ELEMENTS.findall(before), _ELEMENTS.findall(after)):
        for part, other in _blocks(*map(_TOKENS.findall, (b"".join(old), b"".join(new)))):
            if part == other:
                pattern += re.escape(b"".join(part))
            else:
                pattern += b".{0,%d}" % (_ROOM + max(map(len, map(b"".join, (part, other)))))
    return pattern


def _blocks(
    before: Sequence[bytes], after: Sequence[bytes]
) -> Iterator[tuple[Sequence[bytes], Sequence[bytes]]]:
    """What two sequences have in common and what they have not, in turn."""
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for _, start, end, other_start, other_end in matcher.get_opcodes():
        yield before[start:end], after[other_start:other_end]


def _first_difference(ours: bytes, theirs: Sequence[bytes]) -> str:
    """Where a body leaves what gunicorn sent, for a message."""
    start = 0
    for words in zip(*map(_TOKENS.findall, (ours, *theirs[:2])), strict=False):
        if words[0] not in words[1:] and words[1] == words[2]:
            break
        start += len(words[0])
    part = slice(max(start - 80, 0), start + 160)
    return f"{ours[part]!r} instead of {theirs[0][part]!r}"


def table(comparisons: Mapping[str, Comparison]) -> str:
    """All results, for the documentation."""
    rows = [_HEADINGS, " | ".join(["---"] * len(_HEADINGS.split("|")))]
    for comparison in comparisons.values():
        built, bodies = comparison.built, Counter(comparison.verdicts.values())
        distribution = built.project.distribution
        stable = sum(
            len({answer.body for answer in answers}) == 1
            for answers in comparison.gunicorn.values()
        )
        cells = (
            distribution,
            built.versions[distribution],
            built.versions["django"],
            len(comparison.gateway),
            comparison.same_status,
            stable,
            bodies[Verdict.SAME],
            bodies[Verdict.SAME_BUT],
            bodies[Verdict.DIFFERENT],
        )
        rows.append(" | ".join(map(str, cells)))
    return "\n".join(f"| {row} |" for row in rows)
