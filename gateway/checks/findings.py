"""What a check has to say: a level, what it is about, what was found, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

OWN_GATEWAY: Final = "serve this site by a gateway of its own"
"""The remedy for whatever a namespace cannot separate."""


class Level(Enum):
    """How bad it is, the worst first."""

    FAULT = "fault"
    """Visitors get errors; a check with one of these fails."""
    WARNING = "warning"
    """It works, but not as its makers think, or not beside other sites."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    ``code`` names the kind for programs and never changes; ``what`` and ``remedy`` are for people.
    """

    level: Level
    code: str
    what: str
    remedy: str


def listed(words: Iterable[str], limit: int = 5) -> str:
    """The words with commas; of many only the first, and how many more."""
    all_words = list(words)
    more = len(all_words) - limit
    shown = all_words if more <= 1 else [*all_words[:limit], f"and {more} more"]
    return ", ".join(shown)
