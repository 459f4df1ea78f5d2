"""What a worker has seen of itself that must not happen, and how it is therefore."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gateway.log import timestamp

KEPT: Final = 60.0
"""Seconds for which something is told after it has passed: monitors look once a minute."""
AVOIDED: Final = 10.0
"""Seconds for which a worker is `Condition.STALLED` after that has passed."""
_MOST: Final = 20
"""The most things of the past that are told. There are never more lasting ones than places."""


class Condition(StrEnum):
    """How a worker is. Load balancers should not send requests to one that is ``stalled``."""

    OK = "ok"
    DEGRADED = "degraded"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something that was seen. Times are in seconds since the epoch; it lasts without ``until``.

    What is ``grave`` makes the worker `Condition.STALLED`.
    """

    what: str
    grave: bool
    since: float
    until: float | None = None


class Sightings:
    """What was seen and is still of interest. Used on the event loop."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lasting: defaultdict[str, dict[Hashable, Sighting]] = defaultdict(dict)
        """By who sees it."""
        self._past: deque[Sighting] = deque(maxlen=_MOST)

    def note(self, what: str, *, grave: bool, seconds: float) -> None:
        """Note something that lasted for ``seconds`` and has passed now."""
        now = self._clock()
        self._past.append(Sighting(what, grave, now - seconds, now))

    def follow(self, seen: Mapping[Hashable, tuple[str, bool]], by: str = "") -> list[str]:
        """Take over what ``by`` sees now: ``what`` and ``grave`` by a key. Return what is new."""
        now, lasting = self._clock(), self._lasting[by]
        for key in lasting.keys() - seen.keys():
            gone = lasting.pop(key)
            self._past.append(Sighting(gone.what, gone.grave, gone.since, now))
        new = [key for key in seen if key not in lasting]
        for key, (what, grave) in seen.items():
            since = now if key in new else lasting[key].since
            lasting[key] = Sighting(what, grave, since)
        return [lasting[key].what for key in new]

    def condition(self, *, troubled: bool = False) -> Condition:
        """Tell how the worker is; ``troubled`` if an operator is needed for another reason."""
        now = self._clock()
        if any(each.grave and _within(each, now, AVOIDED) for each in self._known()):
            return Condition.STALLED
        known = any(_within(each, now, KEPT) for each in self._known())
        return Condition.DEGRADED if known or troubled else Condition.OK

    def document(self) -> list[dict[str, Any]]:
        """Return what was seen as JSON, the oldest first; empty if there is nothing to tell."""
        now = self._clock()
        return [
            {"what": each.what, "since": timestamp(each.since), "until": _end(each)}
            for each in sorted(self._known(), key=lambda each: each.since)
            if _within(each, now, KEPT)
        ]

    def _known(self) -> list[Sighting]:
        return [*self._past, *(each for seen in self._lasting.values() for each in seen.values())]


def _within(sighting: Sighting, now: float, seconds: float) -> bool:
    return sighting.until is None or now - sighting.until < seconds


def _end(sighting: Sighting) -> str | None:
    return None if sighting.until is None else timestamp(sighting.until)
