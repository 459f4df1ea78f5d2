"""After an unload: is the generation gone, and if not, what holds it?

That can be told only after a full garbage collection, which waits for an idle moment
(`memory/collector.py`); so each generation is looked at after the next few of them, on a thread of
its own. Threads that run code of the site are seen without one.

What survives is counted by site. A site whose scheduler goes on after every reload would soon have
ten of them; past ``max_survivors`` it is not reloaded any more.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
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
"""Collections after which what is still there counts as held: threads of the gateway let go of
what they did last only when they end, a few seconds later."""
PILE: Final = 4
"""Unloaded generations, the least, for which a collection no longer waits for an idle moment."""
SHARE: Final = 2
"""At least one for so many that are up: a pause is as long for what lives as for what goes."""
GRACE: Final = 5.0
"""Seconds that threads have to end after an unload before a reload is refused for them."""
_SHOWN: Final = 3


@dataclass(slots=True, eq=False)
class Unload:
    """One generation that is being unloaded."""

    reporter: Reporter
    number: int
    trace: Trace
    cause: Cause
    memory: int = field(default_factory=resident)
    began: float = field(default_factory=time.monotonic)
    looks: int = 0
    holder: str = ""
    """What held it when it should have been gone."""
    running: str = ""
    """The threads that ran its code when they were asked for last."""

    def survivor(self, *, look: bool = False) -> str | None:
        """What holds it, as far as is known; ``None`` if it is gone or may be gone soon.

        With ``look`` its threads are asked for now.
        """
        if not self.trace.alive:
            return None
        if look:
            self.running = listed(self.trace.threads(running=True), _SHOWN, "; ")
        holder = self.running or self.holder
        return self.reporter.mask(f"generation {self.number}: {holder}") if holder else None


class Unloading:
    """Looks after the generations that were unloaded, of all sites.

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
        self._under_way: Counter[str] = Counter()

    def loaded(self, site: str) -> None:
        """A generation of ``site`` came up."""
        with self._lock:
            self._loaded[site] += 1

    def ended(self, site: str) -> None:
        """A generation of ``site`` that came up serves no longer."""
        with self._lock:
            self._loaded[site] -= 1

    def begin(self, reporter: Reporter, number: int, trace: Trace, cause: Cause) -> Unload:
        """A generation is about to be unloaded, or what there is of one that did not come up."""
        with self._lock:
            self._under_way[reporter.site] += 1
        return Unload(reporter, number, trace, cause)

    def done(self, unload: Unload) -> None:
        """It has been unloaded; from now on it should be gone."""
        with self._lock:
            self._under_way[unload.reporter.site] -= 1
            others = self._unloads[unload.reporter.site]
            others[:] = [*(each for each in others if each.trace.alive), unload]
            new = sum(not each.looks for unloads in self._unloads.values() for each in unloads)
            piled = new >= max(PILE, self._loaded.total() // SHARE)
        self._collector.then(lambda: self._look(unload))
        if piled:
            self._collector.hurry()

    def survivors(self, site: str, *, look: bool = False) -> list[str]:
        """What is left of unloaded generations of ``site``, a line for each, as known last.

        The oldest first. With ``look`` threads are asked for now.
        """
        with self._lock:
            living = sorted(self._unloads.get(site, ()), key=lambda unload: unload.number)
        return [line for unload in living if (line := unload.survivor(look=look)) is not None]

    def refuses(self, config: SiteConfig) -> str | None:
        """Why ``config``'s site may not be loaded once more beside what serves, if it may not."""
        limit = config.limits.max_survivors
        if not limit or len(survivors := self.survivors(config.name, look=True)) < limit:
            return None
        return (
            f"{len(survivors)} of its unloaded generations are still in memory (max_survivors is "
            f"{limit}): {' | '.join(survivors)}. Have the project end its threads and let go of "
            "what it registered in a function of atexit, then restart the gateway"
        )

    def undecided(self, config: SiteConfig) -> bool:
        """Whether that depends on what will be left of generations that are being unloaded."""
        limit, coming = config.limits.max_survivors, self._under_way[config.name]
        return bool(limit and coming) and len(self.survivors(config.name)) + coming >= limit

    def serves(self, site: str) -> bool:
        """Whether a generation of ``site`` is up."""
        return self._loaded[site] > 0

    def _look(self, unload: Unload) -> None:
        """After a full collection, on a thread of its own."""
        unload.looks += 1
        log = unload.reporter.logger("gateway.unloading")
        seconds = time.monotonic() - unload.began
        if not unload.trace.alive:
            log.info(
                "generation %d is gone, seen %.1f s after its unload began; "
                "the process went from %d to %d MB meanwhile (RSS, all that it did included)",
                unload.number,
                seconds,
                unload.memory >> 20,
                resident() >> 20,
            )
        elif unload.looks < LOOKS:
            self._collector.then(lambda: self._look(unload))
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
