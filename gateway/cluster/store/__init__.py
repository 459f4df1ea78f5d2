"""The store: the memory that the worker processes of one gateway share.

No request of a visitor depends on it. If it fails, the workers do not agree and no history is kept,
but all sites are served. `Store` is the interface. `gateway.cluster.store.sqlite` keeps the store
in the state folder; a service on a network could keep it for several machines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from gateway.cluster.store.marks import Marks
from gateway.errors import GatewayError

STOPPING: Final = "stopping"
"""The ``status`` in the health of a worker that was asked to end."""
UNKNOWN: Final = "unknown"
"""The asker of a mode, if the store no longer tells."""


class StoreError(GatewayError):
    """The store cannot be read or written; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that serves, as it reported itself at ``seen`` (seconds since the epoch).

    ``place`` names the process table to which ``pid`` belongs. ``born`` is the start of the process
    in a unit of the system. So a later process with the same ``pid`` can be told apart.
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
    """A task for every worker. Orders are carried out in the sequence of ``number``."""

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
    """One line of the history. ``at`` is in seconds since the epoch; secrets are masked already."""

    at: float
    event: str
    site: str
    generation: int
    result: str
    reason: str | None
    duration_ms: float
    asker: str
    worker: str


@dataclass(frozen=True, slots=True)
class End:
    """The end of a worker that nobody asked for, ``at`` seconds since the epoch.

    ``how`` is for people. ``site`` and ``generation`` say whose code did it, empty and 0 if that
    is not known. It ``counts`` against the site, or it does not.
    """

    at: float
    worker: str
    how: str
    site: str
    generation: int
    counts: bool


class Store(Protocol):
    """The shared memory of the workers.

    Every method blocks for a bounded time, and raises `StoreError`. Only one thread uses an
    instance. What a method writes is stored as a whole or not at all, whenever the process ends.
    """

    @property
    def identity(self) -> str:
        """A name that changes if the store was lost and made again. Then all numbers begin anew."""

    @property
    def marks(self) -> Marks:
        """The marks of the loads that are under way."""

    def changed(self) -> bool:
        """Tell whether anybody else may have written since the last call; cheap."""

    def report(self, worker: Worker) -> None:
        """Replace the report of a worker."""

    def workers(self) -> list[Worker]:
        """Return all workers that have reported, also those that have ended recently."""

    def mark_ended(self, worker: Worker, culprit: str = "") -> bool:
        """Record that a worker has ended without saying so; return true for the first who does.

        If it is known which site did it, the ``culprit``, the same step clears the loads of all
        other sites in that worker from suspicion.
        Return false, and change nothing, if the worker has reported since it was read.
        """

    def forget(self, before: float) -> None:
        """Remove the workers that reported last before a time (seconds since the epoch).

        Those stay of whose loads there are marks.
        """

    def order(self, kind: str, details: Mapping[str, Any], worker: str, asker: str) -> int:
        """Add an order, and return its number."""

    def change_mode(
        self,
        site: str,
        change: Callable[[Held | None], str],
        worker: str,
        asker: str,
        patience: float,
    ) -> Held:
        """Give a site the mode that ``change`` returns for its old one (``None`` if it had none).

        The same step adds an order, and an entry to the history; nobody else can write in between.
        If ``change`` raises, the error is raised here, and nothing has changed.
        """

    def last_order(self) -> int:
        """Return the number of the newest order, 0 if there was none."""

    def orders(self, after: int) -> list[Order]:
        """Return the orders with numbers above ``after``, in sequence."""

    def settle(self, number: int, worker: str, outcome: Mapping[str, Any]) -> None:
        """Write the outcome of an order in one worker."""

    def outcomes(self, number: int) -> dict[str, Mapping[str, Any]]:
        """Return the outcomes of an order that are known so far, by worker."""

    def claim(self, number: int, worker: str) -> bool:
        """Take over an order from a worker that died. Return true for the first caller only."""

    def modes(self, after: int = -1) -> dict[str, Held]:
        """Return the modes with numbers above ``after``, by site; by default all modes."""

    def note_end(self, end: End, limit: int, since: float, reason: str) -> bool:
        """Add the end of a worker; set its site aside for ``reason`` if that was one too many.

        That is if ``limit`` of them count against the site ``since`` then (seconds since the
        epoch); 0 for no limit. The same step adds an entry to the history. Return whether the site
        was set aside by this.
        """

    def ends(self, since: float) -> list[End]:
        """Return the newest ends of workers since then, the newest first."""

    def asides(self) -> dict[str, str]:
        """Return the sites that are set aside, with the reasons."""

    def forgive(self, site: str, worker: str, asker: str) -> None:
        """Let a site that was set aside in again; no end counts against it any more.

        The same step adds an entry to the history.
        """

    def note(self, entry: Entry) -> None:
        """Add an entry to the history; the oldest entries are removed."""

    def note_news(self, entry: Entry, since: float) -> bool:
        """Add an entry unless the newest one of its event, not older than ``since``, says the same.

        Return whether it was added. ``since`` is in seconds since the epoch.
        """

    def history(self, site: str | None, limit: int) -> list[Entry]:
        """Return the newest ``limit`` entries, of one site or of all; the newest one is first."""

    def close(self) -> None:
        """Close the store; never raises."""
