"""The modes of the sites: the store owns them, and every worker follows.

What an operator does is applied to the mode that the store holds, in one step there, so that of
two who act at the same time one comes last for everybody. Every change has a number. A worker
takes a mode only with a higher number than that of the mode it has, whichever comes to it first,
and looks for higher ones at every look at the store, so it needs no order to be right.

Without a store a worker obeys by itself. The store gets such a change when it works again, unless
somebody has changed the mode of that site there meanwhile: then that counts.
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
"""Who asked, for the history, if a worker has brought a mode into a store that is new."""
_KNOWN: Final = frozenset(Mode)


@dataclass(frozen=True, slots=True, eq=False)
class _Alone:
    """A mode that this worker has and the store not yet."""

    mode: Mode
    asker: str


class _OvertakenError(Exception):
    """Somebody else has changed the mode in the store."""


class Modes:
    """The modes of the sites in one worker. Used from the event loop only."""

    def __init__(self, registry: Registry, store_thread: StoreThread, worker: str) -> None:
        self.seen = -1
        """The highest number up to which everything that was in the store is known here."""
        self._registry = registry
        self._store_thread = store_thread
        self._worker = worker
        self._numbers: dict[str, int] = {}
        self._alone: dict[str, _Alone] = {}

    async def change(self, site: str, action: str, asker: str, patience: float) -> Held:
        """Apply an action to the mode in the store, and follow.

        Raises `StoreError`, `ModeError` and `UnknownSiteError`; nothing has changed then, as far as
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
        """Apply an action to the mode that the site has here, for want of a store.

        Raises `ModeError` and `UnknownSiteError`.
        """
        mode = after(action, self._registry.mode_of(site))
        self._registry.set_modes({site: mode}, Cause("mode", asker))
        self._alone[site] = _Alone(mode, asker)
        return mode

    def follow(self, modes: Mapping[str, Held]) -> None:
        """Have what the store has: ``modes`` are all with higher numbers than ``seen``."""
        for site, held in modes.items():
            self._take(site, held)
            self.seen = max(self.seen, held.number)

    def begin_anew(self) -> None:
        """The store is another one than before, and learns from this worker what it does not know.

        Of several workers with the same modes the first one tells it.
        """
        self.seen = -1
        self._numbers.clear()
        for site, mode in self._registry.modes.items():
            if mode is not Mode.OPEN:
                self._alone.setdefault(site, _Alone(mode, RECALLED))

    async def offer(self) -> None:
        """Bring into the store what changed here without it; raises `StoreError`."""
        for site, own in list(self._alone.items()):
            with suppress(_OvertakenError):  # the next look brings what counts
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
        else:  # changed once more without a store, which is yet to be offered
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
    """What the store holds; a mode of a later gateway is one that only “open” ends."""
    if held is None:
        return Mode.OPEN
    return Mode(held.mode) if held.mode in _KNOWN else Mode.MAINTENANCE
