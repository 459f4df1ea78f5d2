"""The modes of the sites (open, paused, maintenance). The store owns them; every worker follows.

An operator's action is applied to the mode in the store, in one step. So if two operators act at
the same time, all workers agree which action came last. Every change has a number. A worker takes a
mode only if its number is higher than that of the mode it has, in whatever sequence it sees them.
At every look at the store it asks for higher numbers, so it does not depend on orders.

If the store does not work, the worker that is asked changes the mode alone. It writes the change
into the store when that works again, unless somebody has changed the mode of that site there
meanwhile. Then the mode in the store counts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gateway.cluster.store import Held
from gateway.cluster.store.thread import StoreThread
from gateway.sites.events import Cause
from gateway.sites.gate import Mode, after
from gateway.sites.registry import Registry

logger = logging.getLogger("gateway.control")

RECALLED: Final = "recall"
"""The asker in the history if a worker has brought its mode into a new store."""
_KNOWN: Final = frozenset(Mode)


@dataclass(frozen=True, slots=True, eq=False)
class _Alone:
    """A mode that this worker has set without the store, and the store does not have yet."""

    mode: Mode
    asker: str


class _OvertakenError(Exception):
    """Somebody else has changed the mode in the store."""


class Modes:
    """The modes of the sites in one worker, for use on the event loop only."""

    def __init__(self, registry: Registry, store_thread: StoreThread, worker: str) -> None:
        self.seen = -1
        """The number up to which this worker knows all changes in the store."""
        self._registry = registry
        self._store_thread = store_thread
        self._worker = worker
        self._numbers: dict[str, int] = {}
        self._alone: dict[str, _Alone] = {}

    async def change(self, site: str, action: str, asker: str, patience: float) -> Held:
        """Apply an action to the mode in the store, and then follow the store.

        Raises `StoreError`, `ModeError` and `UnknownSiteError`. Then nothing has changed, as far as
        is known.
        """
        self._registry.mode_of(site)
        await self.offer()
        held = await self._store_thread.ask(
            lambda store: store.change_mode(
                site, lambda held: after(action, _mode(held)), self._worker, asker, patience
            )
        )
        self._take(site, held)
        return held

    def change_alone(self, site: str, action: str, asker: str) -> Mode:
        """Apply an action to the mode that the site has in this worker, if there is no store.

        Raises `ModeError` and `UnknownSiteError`.
        """
        mode = after(action, self._registry.mode_of(site))
        self._registry.set_modes({site: mode}, Cause("mode", asker))
        self._alone[site] = _Alone(mode, asker)
        return mode

    def follow(self, modes: Mapping[str, Held]) -> None:
        """Take over ``modes``, which are all modes in the store with a number above ``seen``."""
        for site, held in modes.items():
            self._take(site, held)
            self.seen = max(self.seen, held.number)

    def begin_anew(self) -> None:
        """Prepare for a new store: offer it the modes that this worker has.

        If several workers have the same modes, the first one writes them.
        """
        self.seen = -1
        self._numbers.clear()
        for site, mode in self._registry.modes.items():
            if mode is not Mode.OPEN:
                self._alone.setdefault(site, _Alone(mode, RECALLED))

    async def offer(self) -> None:
        """Write the modes into the store that were set without it; raises `StoreError`."""
        for site, own in list(self._alone.items()):
            with suppress(_OvertakenError):  # the next look finds the mode that counts
                await self._offer(site, own)

    async def _offer(self, site: str, own: _Alone) -> None:
        known = self._numbers.get(site)

        def unless_overtaken(held: Held | None) -> Mode:
            if (held.number if held else None) != known:
                raise _OvertakenError
            return own.mode

        held = await self._store_thread.ask(
            lambda store: store.change_mode(site, unless_overtaken, self._worker, own.asker, 0.0)
        )
        if self._alone.get(site) is own:
            del self._alone[site]
            self._take(site, held)
        else:  # the mode was changed again without the store; that change is offered later
            self._numbers[site] = held.number

    def _take(self, site: str, held: Held) -> None:
        if held.number <= self._numbers.get(site, -1):
            return
        self._numbers[site] = held.number
        if (own := self._alone.pop(site, None)) is not None and own.mode != held.mode:
            logger.warning(
                "%s: in mode %s, as the store has it; %s, which only this worker had, counts no "
                "longer",
                site,
                held.mode,
                own.mode,
            )
        if held.mode in _KNOWN:
            self._registry.set_modes({site: Mode(held.mode)}, Cause("mode", held.asker))


def _mode(held: Held | None) -> Mode:
    """Return the mode in the store. An unknown one, of a later version, counts as maintenance."""
    if held is None:
        return Mode.OPEN
    return Mode(held.mode) if held.mode in _KNOWN else Mode.MAINTENANCE
