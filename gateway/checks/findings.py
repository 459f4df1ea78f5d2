"""The findings of a check: each has a level, a code, a text on what was found, and a remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

OWN_GATEWAY: Final = "serve this site by a gateway of its own"
"""The remedy for everything that a namespace cannot separate."""


class Level(Enum):
    """The level of a finding, the worst first."""

    FAULT = "fault"
    """Visitors get errors. A check with a fault fails."""
    WARNING = "warning"
    """The site works, but not as its authors expect, or not beside other sites."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    ``code`` tells programs the kind of finding, and never changes. ``what`` and ``remedy`` are for
    people.
    """

    level: Level
    code: str
    what: str
    remedy: str


def listed(words: Iterable[str], limit: int = 5) -> str:
    """Join words with commas; of many, show only the first and the number of the others."""
    all_words = list(words)
    more = len(all_words) - limit
    shown = all_words if more <= 1 else [*all_words[:limit], f"and {more} more"]
    return ", ".join(shown)
