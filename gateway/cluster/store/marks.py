"""Marks of loads in the store, by which a load that ends its process is known afterwards.

A worker *claims* a load, *begins* it before the first line of the site runs, and *ends* it. The
marks of a worker that has died without saying that it stops make those sites *suspects* whose load
had begun, unless there is evidence that another site ended it. A suspect is loaded alone: nothing
else is being loaded in that worker, and nothing else is loaded alone in any other. If the worker
dies again, the load was it, and that code is not loaded any more. If it lives, whether the load
fails or not, the suspicion is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Mark:
    """A load in a worker. ``key`` is used once only; ``code`` differs if the code or entry does."""

    key: str
    site: str
    code: str
    worker: str
    generation: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """A site whose load was under way when ``worker`` died; ``alone`` if no other load was."""

    site: str
    code: str
    worker: str
    generation: int
    alone: bool


class Answer(StrEnum):
    """The answer to a claim."""

    GO = "go"
    """The load is claimed."""
    ALONE = "alone"
    """Claim it again when nothing else is being loaded in that worker."""
    WAIT = "wait"
    """Another worker loads this code first, or loads something alone; ask again in a moment."""
    NEVER = "never"
    """This code has ended a worker when it was loaded alone."""


class Outcome(StrEnum):
    """The end of a load that its process has lived to see."""

    LOADED = "loaded"
    FAILED = "failed"
    LEFT = "left"
    """It was cancelled, so nothing is known of it."""


class Verdict(NamedTuple):
    """The answer to a claim, and the suspicion that it comes from."""

    answer: Answer
    suspect: Suspect | None = None


class Marks(Protocol):
    """The marks of all workers. Every method raises ``StoreError``."""

    def claim(self, mark: Mark, *, alone: bool) -> Verdict:
        """Claim a load; ``alone`` if nothing else is being loaded in that worker.

        Code that no running worker has had up is claimed by one worker at a time.
        """

    def begin(self, key: str) -> None:
        """Record that a claimed load runs code of the site from now on."""

    def end(self, key: str, outcome: Outcome) -> None:
        """Take a mark off, if there is one."""

    def suspects(self) -> list[Suspect]:
        """Return the sites whose load was under way in a worker that died."""

    def pardon(self, sites: Iterable[str]) -> None:
        """Let sites be loaded that are not to be loaded any more: alone, as other suspects."""
