"""An audit of the places with the governor: each has to belong to code that runs, or that will.

A place whose request no living thread has, which does not wait for a thread, and which is not
parked either, is lost: nobody will give it back. The audit looks at what the governor and the pool
say at slightly different moments, so a place may look lost for an instant. It is told only if the
look before has found it, too. Nothing is mended here: what is found is a defect of the gateway.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import cast

from gateway.execution.governor import Governor, Ticket
from gateway.execution.passage import Passage, Stage
from gateway.execution.pool import Pool


@dataclass(frozen=True, slots=True)
class Finding:
    """A place that is not as it has to be. ``what`` is for people, secrets masked."""

    what: str
    lost: bool
    """True if it will never be given back."""


class Audit:
    """Compares what the governor and the pool say. `look` is called about once a second."""

    def __init__(
        self, governor: Governor, pool: Pool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``clock`` is that of the event loop."""
        self._governor = governor
        self._pool = pool
        self._clock = clock
        # What the last look has found.
        self._lost: Collection[Ticket] = ()
        self._overstayed: Ticket | None = None

    def look(self) -> Mapping[Hashable, Finding]:
        """Return what this look and the one before have found.

        It costs a tenth of a millisecond with 70 places taken. The keys tell whether two looks have
        found the same.
        """
        # In this sequence: what is given a place later is no matter of this look.
        holders, overstaying = self._governor.holders(), self._governor.overstays()
        carried = self._pool.carried() if holders else set()
        lost = {ticket for ticket in holders if not _belongs(ticket, carried)}
        found: dict[Hashable, Finding] = {
            ticket: Finding(f"{self._named(ticket)} has a place, and no thread has it", True)
            for ticket in lost.intersection(self._lost)
        }
        if overstaying is not None and overstaying is self._overstayed and overstaying not in lost:
            named = self._named(overstaying)
            found[overstaying] = Finding(f"{named} keeps the place of quick requests", False)
        self._lost, self._overstayed = lost, overstaying
        return found

    def _named(self, ticket: Ticket) -> str:
        passage = cast("Passage | None", ticket.work)
        if passage is None:
            return "a request that has ended"
        reporter = passage.threads.reporter
        request = reporter.mask(passage.job.hung(self._clock()).request)
        return f"{reporter.site}: {request}"


def _belongs(ticket: Ticket, carried: Collection[object]) -> bool:
    passage = cast("Passage | None", ticket.work)
    if passage is None:
        return False
    if passage in carried:
        return True
    # Its place is held for the time in which it has parked, and waits to come back.
    return not ticket.runs and (passage.stage is Stage.PARKED or passage.ticket.held is ticket)
