"""Find out after an unload whether the generation is gone, and if not, what holds it in memory.

This can be told only after a full garbage collection, and collections wait for an idle moment
(`memory/collector.py`). So each generation is examined after the next few collections. Threads that
still run code of the site can be seen without a collection.

A generation that stays in memory is a *survivor*. A site whose scheduler continues after every
reload would soon have ten survivors. A site that has ``max_survivors`` of them is not reloaded any
more.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from gateway.config import SiteConfig
from gateway.errors import listed
from gateway.memory.collector import Collector
from gateway.memory.figures import resident
from gateway.namespace.survivors import Trace
from gateway.sites.events import Cause, Survived
from gateway.sites.reporting import Reporter

LOOKS: Final = 3
"""The number of collections after which a generation that is still in memory counts as held. One
is not enough: a thread of the gateway refers to its last work until it ends, some seconds later."""
PILE: Final = 4
"""The smallest number of unloaded generations for which a collection does not wait for an idle
moment."""
SHARE: Final = 2
"""For such a collection, there must also be one unloaded generation for every ``SHARE`` that serve:
the objects of those that serve make the pause longer, too."""
GRACE: Final = 5.0
"""Seconds that threads have to end after an unload, before a reload is refused because of them."""
LATE: Final = 10.0
"""Seconds after which an unload that has not ended counts as a survivor: an exit function hangs."""
_SHOWN: Final = 3


@dataclass(slots=True, eq=False)
class Unload:
    """The unload of one generation, and what was found out after it."""

    reporter: Reporter
    number: int
    trace: Trace
    cause: Cause
    memory: int = field(default_factory=resident)
    began: float = field(default_factory=time.monotonic)
    ended: bool = False
    waits: bool = False
    """True while it waits for a collection to be looked at."""
    looks: int = 0
    holder: str = ""
    """Text that says what held it after `LOOKS` collections; empty before that."""
    running: str = ""
    """The threads that ran its code when this was last looked at."""

    @property
    def coming(self) -> bool:
        """Whether it is under way, and may still end."""
        return not self.ended and time.monotonic() - self.began < LATE

    def survivor(self, *, look: bool = False) -> str | None:
        """Return what is known to hold it; ``None`` if it is gone or may be gone soon.

        With ``look``, look now for threads that run its code.
        """
        if not self.trace.alive or self.coming:
            return None
        if look:
            self.running = listed(self.trace.threads(running=True), _SHOWN, "; ")
        late = "" if self.ended else "its unload does not end"
        holder = self.running or self.holder or late
        return self.reporter.mask(f"generation {self.number}: {holder}") if holder else None


class Unloading:
    """Keeps track of the unloaded generations of all sites.

    Those that stay in memory are told to ``publish``, on some thread.
    """

    def __init__(
        self, collector: Collector, publish: Callable[[Survived], object] = lambda _: None
    ) -> None:
        self._collector = collector
        self._publish = publish
        self._lock = threading.Lock()
        self._unloads: dict[str, list[Unload]] = defaultdict(list)
        self._loaded: Counter[str] = Counter()

    def loaded(self, site: str) -> None:
        """Note that a generation of ``site`` has been loaded and serves."""
        with self._lock:
            self._loaded[site] += 1

    def ended(self, site: str) -> None:
        """Note that a generation of ``site`` that had been loaded no longer serves."""
        with self._lock:
            _count_down(self._loaded, site)

    @contextlib.contextmanager
    def unload(
        self, reporter: Reporter, number: int, trace: Trace, cause: Cause
    ) -> Iterator[Unload]:
        """Unload a generation in the block, and have it examined after the next collections.

        It may be one that did not load.
        """
        unload = Unload(reporter, number, trace, cause)
        with self._lock:
            self._unloads[reporter.site].append(unload)
        try:
            yield unload
        finally:
            self._done(unload)

    def look_again(self, unload: Unload) -> None:
        """Examine a generation anew: what it had left running has ended."""
        unload.looks = 0
        self._look_later(unload)

    def _done(self, unload: Unload) -> None:
        with self._lock:
            unload.ended = True
            all_ = self._unloads[unload.reporter.site]
            all_[:] = [each for each in all_ if each is unload or each.trace.alive]
            everything = [each for unloads in self._unloads.values() for each in unloads]
            new = sum(each.ended and not each.looks for each in everything)
            piled = new >= max(PILE, self._loaded.total() // SHARE)
        self._look_later(unload)
        if piled:
            self._collector.hurry()

    def survivors(self, site: str, *, look: bool = False) -> list[str]:
        """Return a line for each survivor of ``site``, as last known, the oldest first.

        With ``look``, look now for threads that run their code.
        """
        with self._lock:
            living = sorted(self._unloads.get(site, ()), key=lambda unload: unload.number)
        return [line for unload in living if (line := unload.survivor(look=look)) is not None]

    def refuses(self, config: SiteConfig) -> str | None:
        """Return why the site must not be loaded once more beside what serves, else ``None``."""
        limit = config.limits.max_survivors
        if not limit or len(survivors := self.survivors(config.name, look=True)) < limit:
            return None
        return (
            f"{len(survivors)} of its unloaded generations are still in memory (max_survivors is "
            f"{limit}): {' | '.join(survivors)}. Have the project end its threads and let go of "
            "what it registered in a function of atexit, then restart the gateway"
        )

    def undecided(self, config: SiteConfig) -> bool:
        """Tell whether unloads that are under way may still change the answer of `refuses`."""
        limit = config.limits.max_survivors
        with self._lock:
            coming = sum(each.coming for each in self._unloads.get(config.name, ()))
        return bool(limit and coming) and len(self.survivors(config.name)) + coming >= limit

    def serves(self, site: str) -> bool:
        """Tell whether a generation of ``site`` serves."""
        return self._loaded[site] > 0

    def _look_later(self, unload: Unload) -> None:
        with self._lock:
            waits, unload.waits = unload.waits, True
        if not waits:
            self._collector.then(lambda: self._look(unload))

    def _look(self, unload: Unload) -> None:
        """Examine a generation after a full collection; runs on a thread of its own."""
        unload.waits = False
        unload.looks += 1
        log = unload.reporter.logger("gateway.unloading")
        seconds = time.monotonic() - unload.began
        if not unload.trace.alive:
            self._forget(unload)
            log.info(
                "generation %d is gone, seen %.1f s after its unload began; "
                "the process went from %d to %d MB meanwhile (RSS, all that it did included)",
                unload.number,
                seconds,
                unload.memory >> 20,
                resident() >> 20,
            )
        elif unload.looks < LOOKS:
            self._look_later(unload)
        else:
            unload.holder = listed(unload.trace.threads(), _SHOWN, "; ") or unload.trace.holder()
            log.warning(
                "generation %d is still in memory %.0f s after its unload, held by %s",
                unload.number,
                seconds,
                unload.holder,
            )
            holder = unload.reporter.mask(unload.holder)
            self._publish(Survived(unload.reporter.site, unload.number, unload.cause, holder))

    def _forget(self, unload: Unload) -> None:
        site = unload.reporter.site
        with self._lock:
            left = [each for each in self._unloads.get(site, ()) if each is not unload]
            if left:
                self._unloads[site] = left
            else:
                self._unloads.pop(site, None)


def _count_down(counts: Counter[str], site: str) -> None:
    """Count one less, and forget a site that has none: it may have left for good."""
    counts[site] -= 1
    if not counts[site]:
        del counts[site]
