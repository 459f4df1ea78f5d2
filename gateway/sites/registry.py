"""The registry owns the sites: which there are, on which hosts, in which mode, and how each is.

*Routes follow the file at once*: `Registry.adopt` swaps the sites and the host table in one step,
without an ``await``, so that no request sees half of a change. It touches no code that serves;
`gateway.sites.reloads` does that.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from gateway.config import Config, FaultySite, SiteConfig
from gateway.config.hosts import HostTable
from gateway.errors import Fault, UnknownSiteError
from gateway.sites.events import (
    THE_START,
    THE_STOP,
    Cause,
    Events,
    FaultsChanged,
    Happening,
    ModeChanged,
)
from gateway.sites.gate import Mode
from gateway.sites.generation import Backend
from gateway.sites.loads import Loads
from gateway.sites.site import Site, SiteStatus, UnusableSite
from gateway.sites.state import State

logger = logging.getLogger("gateway.registry")

_QUIET_INTERVAL: Final = 0.02
"""Seconds between two checks whether a site is quiet."""
STOP_DRAIN: Final = 5.0
"""Seconds that stopping waits for requests in flight; the server has waited for them before."""
_REMEMBERED: Final = 1000
"""The number of sites that have left whose last generation is remembered."""


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """The gateway at one moment; ``faults`` are those of the file on disk."""

    sites: tuple[SiteStatus, ...]
    faults: tuple[Fault, ...]
    degraded: bool
    """True if anything is not as ``sites.json`` wants it."""


@dataclass(frozen=True, slots=True)
class Diff:
    """The names of the sites that a new configuration adds, removes and changes.

    ``stale`` are those among the changed ones whose visitors would otherwise still meet something
    of the old entry: a generation, an attempt or an error page.
    """

    added: frozenset[str]
    removed: frozenset[str]
    changed: frozenset[str]
    stale: frozenset[str]

    @classmethod
    def between(cls, sites: Mapping[str, Site | UnusableSite], config: Config) -> Diff:
        """Compare the sites that there are with a configuration."""
        wanted = config.sites.keys() | config.faulty.keys()
        changed = {
            name
            for name, entry in config.sites.items()
            if name in sites and sites[name].config != entry
        }
        return cls(
            added=frozenset(wanted - sites.keys()),
            removed=frozenset(sites.keys() - wanted),
            changed=frozenset(changed),
            stale=frozenset(name for name in changed if sites[name].state is not State.COLD),
        )

    def touches(self, name: str) -> bool:
        """Tell whether the site is added, removed or changed."""
        return name in self.added or name in self.removed or name in self.changed


def log_faults(faults: tuple[Fault, ...]) -> None:
    """Log the faults of the file, or that it has none any more."""
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        logger.error("sites.json is not served as it stands:\n%s", listed)
    else:
        logger.warning("sites.json is valid again")


def _logged() -> Events:
    def log(event: Happening) -> None:
        if isinstance(event, FaultsChanged):
            log_faults(event.faults)

    events = Events()
    events.subscribe(log)
    return events


class Registry:
    """All sites, by name and by host. ``async with`` it: leaving closes every site.

    ``config`` may come from a lenient reading; ``faults`` are those of the file on disk. ``retry``,
    ``loads`` and ``clock`` are those of `Site`. What happens is published in ``events``; by
    default, faults are logged.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        *,
        faults: Iterable[Fault] = (),
        retry: float = 5.0,
        loads: Loads | None = None,
        clock: Callable[[], float] = time.monotonic,
        events: Events | None = None,
    ) -> None:
        self._backend = backend
        self._loads = loads
        self.events = events or _logged()
        self._retry = retry
        self._clock = clock
        self._sites: Mapping[str, Site | UnusableSite] = {}
        self._table = HostTable.build({}, None)
        self._config = config
        self._faults: tuple[Fault, ...] = ()
        # The last generations of sites that have left, and the highest of those forgotten.
        self._generations: OrderedDict[str, int] = OrderedDict()
        self._forgotten = 0
        self._modes: dict[str, Mode] = {}
        self._aside: Mapping[str, str] = {}
        # Kept up to date by `_follow`, for there may be thousands of sites, most of them cold.
        self._warm: dict[str, Site | UnusableSite] = {}
        self._failing: dict[str, Site | UnusableSite] = {}
        self._leaving: dict[Site, asyncio.Task[None]] = {}
        self.adopt(config, THE_START)
        self.set_faults(faults)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        leaving = dict(self._leaving)
        for closing in leaving.values():
            closing.cancel()
        if leaving:
            await asyncio.wait(leaving.values())
        sites = [site for site in self._sites.values() if isinstance(site, Site)]
        # None is left behind because another one raises.
        closed = await asyncio.gather(
            *(site.close(THE_STOP, STOP_DRAIN) for site in (*sites, *leaving)),
            return_exceptions=True,
        )
        for error in closed:
            if error is not None:
                logger.error("a site could not be closed: %s", type(error).__name__)

    # The sites

    @property
    def config(self) -> Config:
        """The configuration that is in effect."""
        return self._config

    @property
    def sites(self) -> Mapping[str, Site | UnusableSite]:
        """All sites by name, in the order of ``sites.json``; a new mapping after each change."""
        return self._sites

    @property
    def watched(self) -> frozenset[Path]:
        """The files that the configuration was made of."""
        return self._config.watched

    @property
    def preloaded(self) -> frozenset[str]:
        """The sites that want to be loaded before anybody asks for them."""
        wanted = (name for name, entry in self._config.sites.items() if entry.preload)
        return frozenset(name for name in wanted if name not in self._aside)

    @property
    def warm(self) -> frozenset[str]:
        """The sites that are not cold."""
        return frozenset(self._warm)

    def find(self, host: str) -> Site | UnusableSite | None:
        """Return the site that answers to ``host``, which is in normal form."""
        name = self._table.find(host)
        return None if name is None else self._sites[name]

    def loaded(self) -> list[Site]:
        """Return the sites whose code is loaded."""
        return [
            site
            for site in self._warm.values()
            if isinstance(site, Site) and site.state is State.READY
        ]

    def watched_sites(self) -> list[Site]:
        """Return the loaded and failed sites that are to be reloaded when their code changes."""
        return [
            site
            for site in self._warm.values()
            if isinstance(site, Site)
            and site.config.watch
            and site.state in (State.READY, State.FAILED)
        ]

    # How they are

    def status(self, *, cold: bool = True) -> GatewayStatus:
        """Describe the gateway as it is now, sites in the order of ``sites.json``.

        Without ``cold``, the sites of which there may be thousands are left out, and the others are
        in any order.
        """
        sites = (self._sites if cold else self._warm).values()
        return GatewayStatus(tuple(site.status() for site in sites), self._faults, self.degraded)

    def site_status(self, name: str) -> SiteStatus:
        """Describe one site as it is now; raises `UnknownSiteError`."""
        try:
            return self._sites[name].status()
        except KeyError:
            raise UnknownSiteError(f"sites.json has no site {name!r}") from None

    @property
    def degraded(self) -> bool:
        """True if anything is not as ``sites.json`` wants it. The cost is the same with any number
        of sites.
        """
        aside = any(name in self._sites for name in self._aside)
        return bool(self._faults or self._failing or aside)

    @property
    def faulty(self) -> bool:
        """True if the file on disk has faults, so that it is not what is served."""
        return bool(self._faults)

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """Remember the faults of the file on disk, and publish them if they have changed."""
        before, self._faults = self._faults, tuple(faults)
        if self._faults != before:
            self.events.publish(FaultsChanged(self._faults))

    # Modes

    def mode_of(self, name: str) -> Mode:
        """Return the mode of a site; raises `UnknownSiteError`."""
        return self._site(name).gate.mode

    @property
    def modes(self) -> Mapping[str, Mode]:
        """The modes other than open, also of sites that have left or are yet to come."""
        return MappingProxyType(self._modes)

    def set_modes(self, modes: Mapping[str, Mode], cause: Cause) -> None:
        """Put sites into modes, at once, also those that are yet to come."""
        for name, mode in modes.items():
            if mode is Mode.OPEN:
                self._modes.pop(name, None)
            else:
                self._modes[name] = mode
            if isinstance(site := self._sites.get(name), Site):
                changed = site.gate.mode is not mode
                site.gate.set(mode)
                if changed:
                    self.events.publish(ModeChanged(name, mode, cause))

    def set_aside(self, reasons: Mapping[str, str]) -> None:
        """Set these sites aside, for the reasons given, and let all others in."""
        before, self._aside = self._aside, reasons
        for name in before.keys() | reasons.keys():
            if isinstance(site := self._sites.get(name), Site):
                site.gate.set_aside(reasons.get(name))

    async def quiet(self, name: str, patience: float) -> int:
        """Wait until a site has no request in flight, for ``patience`` seconds at most.

        Returns how many it has then; raises `UnknownSiteError`.
        """
        site = self._site(name)
        end = self._clock() + patience
        while site.in_flight and self._clock() < end:
            await asyncio.sleep(_QUIET_INTERVAL)
        return site.in_flight

    def _site(self, name: str) -> Site:
        site = self._sites.get(name)
        if not isinstance(site, Site):
            raise UnknownSiteError(f"sites.json has no site {name!r} that can be served")
        return site

    # The step that changes what is served

    def adopt(self, config: Config, cause: Cause) -> Diff:
        """Put a configuration into effect; synchronous, so that no request sees half of it.

        Sites that it no longer has are closed in the background, for the sake of ``cause``. Code of
        the others goes on serving.
        """
        diff = Diff.between(self._sites, config)
        entries: dict[str, SiteConfig | FaultySite] = {**config.sites, **config.faulty}
        table = HostTable.build({name: e.hosts for name, e in entries.items()}, config.default_site)
        sites: dict[str, Site | UnusableSite] = {
            name: self._site_for(entry) for name, entry in config.sites.items()
        }
        sites.update((name, UnusableSite(faulty)) for name, faulty in config.faulty.items())
        # From here on, nothing raises for a reason of the configuration's.
        for name, entry in config.sites.items():
            if isinstance(site := sites[name], Site):
                site.config = entry
        leaving = [self._sites[name] for name in diff.removed]
        self._sites, self._table, self._config = sites, table, config
        faulty = {name: sites[name] for name in config.faulty}
        self._warm, self._failing = (
            {name: site for name, site in before.items() if sites.get(name) is site} | faulty
            for before in (self._warm, self._failing)
        )
        for name in diff.added:
            self._generations.pop(name, None)
        for site in leaving:
            if isinstance(site, Site):
                self._remember(site)
                self._leaving[site] = asyncio.get_running_loop().create_task(
                    self._close(site, cause), context=contextvars.Context()
                )
        return diff

    def _site_for(self, entry: SiteConfig) -> Site:
        site = self._sites.get(entry.name)
        if isinstance(site, Site):
            return site
        made = Site(
            entry,
            self._backend,
            retry=self._retry,
            generations=self._generations.get(entry.name, self._forgotten),
            mode=self._modes.get(entry.name, Mode.OPEN),
            loads=self._loads,
            clock=self._clock,
            events=self.events,
            changed=self._follow,
        )
        made.gate.set_aside(self._aside.get(entry.name))
        return made

    def _follow(self, site: Site) -> None:
        """Keep the lists of warm and failing sites true when the state of a site has changed."""
        name = site.config.name
        if self._sites.get(name) is site:
            for among, kept in (
                (self._warm, site.state is not State.COLD),
                (self._failing, site.failure is not None),
            ):
                if kept:
                    among[name] = site
                else:
                    among.pop(name, None)

    def _remember(self, site: Site) -> None:
        """Remember how many generations a site had, so that no number of a name is used twice.

        The names of many are forgotten; who comes after that begins above all numbers of theirs.
        """
        if site.generations:
            self._generations[site.config.name] = site.generations
        while len(self._generations) > _REMEMBERED:
            _, number = self._generations.popitem(last=False)
            self._forgotten = max(self._forgotten, number)

    async def _close(self, site: Site, cause: Cause) -> None:
        try:
            await site.close(cause)
        finally:
            del self._leaving[site]
