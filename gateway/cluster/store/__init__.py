"""What the worker processes of one gateway know together.

Nothing that serves a request depends on it: a store that fails costs agreement and history, never
an answer. `Store` is the interface; `gateway.cluster.store.sqlite` keeps it in the state directory,
and something on a network could keep it for several machines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from gateway.errors import GatewayError

UNKNOWN: Final = "unknown"
"""The asker of a mode, if the store no longer tells."""


class StoreError(GatewayError):
    """The store cannot be read or written; the message says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that serves, as it described itself at ``seen`` (seconds since the epoch).

    ``place`` says which process table ``pid`` is of, ``born`` when that process started, in
    whatever unit the system counts: a number that is used again is then another process.
    """

    id: str
    pid: int
    place: str
    born: str
    seen: float
    ended: bool
    health: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """Something that every worker has to carry out, in the sequence of ``number``."""

    number: int
    kind: str
    details: Mapping[str, Any]
    worker: str
    asker: str


class Held(NamedTuple):
    """The mode of a site, the number of the order that it came with, and who asked for it.

    ``asker`` is `UNKNOWN` once the store has dropped the order.
    """

    mode: str
    number: int
    asker: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history. ``at`` is seconds since the epoch; texts are masked already."""

    at: float
    event: str
    site: str
    generation: int
    result: str
    reason: str | None
    duration_ms: float
    asker: str
    worker: str


class Store(Protocol):
    """The memory of a gateway. Every method blocks, for a bounded time, and raises `StoreError`.

    One thread uses an instance. What a method writes is there as a whole or not at all, whenever
    the process ends.
    """

    @property
    def identity(self) -> str:
        """A name that changes when the memory was lost: numbers then begin again."""

    def changed(self) -> bool:
        """Whether somebody else may have written since this was asked last; cheap."""

    def report(self, worker: Worker) -> None:
        """Say what a worker looks like now."""

    def workers(self) -> list[Worker]:
        """All that reported, those that have ended recently included."""

    def mark_ended(self, worker: Worker) -> bool:
        """Record that a worker has ended without saying so; return true for the first who does.

        Return false, and change nothing, if the worker has reported since it was read.
        """

    def forget(self, before: float) -> None:
        """Drop the workers that reported last before a moment."""

    def order(self, kind: str, details: Mapping[str, Any], worker: str, asker: str) -> int:
        """Add an order; its number."""

    def change_mode(
        self,
        site: str,
        change: Callable[[Held | None], str],
        worker: str,
        asker: str,
        patience: float,
    ) -> Held:
        """Give a site the mode that ``change`` makes of the one held (``None``: it never had one).

        An order to follow and an entry of the history are added in the same step, in which nobody
        else changes anything. What ``change`` raises is raised, and then nothing has changed.
        """

    def last_order(self) -> int:
        """The number of the newest order, 0 if there was none."""

    def orders(self, after: int) -> list[Order]:
        """The orders with higher numbers, in sequence."""

    def settle(self, number: int, worker: str, outcome: Mapping[str, Any]) -> None:
        """Say what became of an order in one worker."""

    def outcomes(self, number: int) -> dict[str, Mapping[str, Any]]:
        """What became of an order so far, by worker."""

    def claim(self, number: int, worker: str) -> bool:
        """Take over an order from a worker that died; true for the first that does."""

    def modes(self, after: int = -1) -> dict[str, Held]:
        """The modes that came with higher numbers, by site; all that there ever were by default."""

    def note(self, entry: Entry) -> None:
        """Add to the history; the oldest entries make room."""

    def note_news(self, entry: Entry, since: float) -> bool:
        """Add to the history, and true, unless somebody noted the same for the event ``since``."""

    def history(self, site: str | None, limit: int) -> list[Entry]:
        """The newest entries first, of one site or of all."""

    def close(self) -> None:
        """Let go of it; never raises."""
