"""The sites of the gateway: their sole owner, and the one who applies a new ``sites.json``.

Two rules make a reload safe. *Routes follow the file at once*: the sites and the host table are
swapped in one step, without an ``await``, so that no request sees half of a change. *Code follows
the last good generation*: what serves goes on serving until its successor is up.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self, TypeVar

from gateway.config import Config, FaultySite, SiteConfig
from gateway.config.hosts import HostTable
from gateway.errors import ConfigError, Fault, UnknownSiteError
from gateway.sites.events import (
    A_REQUEST,
    Cause,
    Events,
    FaultsChanged,
    Happening,
    ModeChanged,
    Removed,
)
from gateway.sites.gate import Mode
from gateway.sites.generation import Backend
from gateway.sites.site import Site, SiteStatus, UnusableSite
from gateway.sites.state import State

logger = logging.getLogger("gateway.registry")

LOADS_AT_ONCE: Final = 2
"""How many sites a reload or the preloading brings up at the same time: loading is mostly Python
that holds the GIL, so more of it at once only makes visitors wait longer."""
_LOOK: Final = 0.02
"""Seconds between looks whether a site is quiet."""
STOP_DRAIN: Final = 5.0
"""Seconds that stopping waits for requests in flight; the server has waited for them before."""

_T = TypeVar("_T")


class Result(StrEnum):
    """What became of a site in a reload.

    It speaks of what runs. A cold site with a changed entry is therefore ``unchanged``: nothing
    ran and nothing runs, and its first request will find the new entry. A site that had no
    generation and now has one is ``loaded``, also if it is new.
    """

    RELOADED = "reloaded"
    LOADED = "loaded"
    ADDED = "added"
    REMOVED = "removed"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one site: ``generation`` serves now (0: none), ``error`` is one line."""

    outcome: Result
    generation: int
    duration_ms: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the sites that a reload was asked for."""

    sites: Mapping[str, Outcome]

    @property
    def failed(self) -> bool:
        """Whether a new generation did not come up."""
        return any(outcome.outcome is Result.FAILED for outcome in self.sites.values())

    def document(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "status": "failed" if self.failed else "ok",
            "sites": {name: asdict(outcome) for name, outcome in self.sites.items()},
        }


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What the gateway looks like at one moment; ``faults`` are those of the file on disk."""

    sites: tuple[SiteStatus, ...]
    faults: tuple[Fault, ...]
    degraded: bool
    """Whether anything is not as ``sites.json`` wants it."""


@dataclass(frozen=True, slots=True)
class _Demand:
    """What a run has to bring up beside the sites whose entries changed.

    ``by`` is who asked first; ``named`` has who asked for each site, ``every`` who asked for all.
    ``together`` has the names that one asker gave: nothing comes of them if one is refused.
    ``whole`` is whether it has to see what changed in the files of any site: their ``env_file``,
    say. One for some sites leaves that to the watch.
    """

    by: Cause
    every: Cause | None = None
    named: Mapping[str, Cause] = field(default_factory=dict)
    whole: bool = True
    together: frozenset[frozenset[str]] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str], cause: Cause) -> _Demand:
        """Return the demand for some sites, or for all that are up if there is no name."""
        named = dict.fromkeys(names, cause)
        if not named:
            return cls(cause, every=cause)
        return cls(cause, named=named, whole=False, together=frozenset({frozenset(named)}))

    def __or__(self, other: _Demand) -> _Demand:
        return _Demand(
            self.by,
            self.every or other.every,
            {**other.named, **self.named},
            self.whole or other.whole,
            self.together | other.together,
        )

    def covers(self, name: str, state: State) -> bool:
        return name in self.named or (self.every is not None and state is not State.COLD)

    def cause_of(self, name: str) -> Cause:
        """Who wants what happens to a site."""
        return self.named.get(name) or self.every or self.by


@dataclass(frozen=True, slots=True)
class _Diff:
    """What a new configuration changes: names of sites.

    ``stale`` are the changed ones whose visitors would otherwise go on meeting what the old entry
    made: a generation, an attempt or an error page.
    """

    added: frozenset[str]
    removed: frozenset[str]
    changed: frozenset[str]
    stale: frozenset[str]

    @classmethod
    def between(cls, sites: Mapping[str, Site | UnusableSite], config: Config) -> _Diff:
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
        return name in self.added or name in self.removed or name in self.changed


@dataclass(frozen=True, slots=True)
class _Done:
    """A reload that is over. If the file has ``faults``, only the sites in ``named`` had a part."""

    diff: _Diff
    outcomes: Mapping[str, Outcome]
    named: frozenset[str]
    faults: tuple[Fault, ...]

    def report(self, demand: _Demand) -> Report:
        """Return what came of one of the demands; raises `ConfigError` if that is nothing."""
        if self.faults and (demand.whole or demand.named.keys() - self.named):
            raise ConfigError(self.faults)
        if demand.every:
            return Report(self.outcomes)
        return Report(
            {
                name: outcome
                for name, outcome in self.outcomes.items()
                if name in demand.named or self.diff.touches(name)
            }
        )


@dataclass(slots=True)
class _Run:
    """A reload that has not begun yet takes further demands."""

    demand: _Demand
    task: asyncio.Task[_Done] = field(init=False)


def log_faults(faults: tuple[Fault, ...]) -> None:
    """Say what is wrong with the file now, or that nothing is any more."""
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

    ``config`` may come from a lenient reading; ``faults`` are what is wrong with the file on disk.
    ``read`` reads the file leniently, for the sake of the sites whose names it is given, or of all
    if there is none; it blocks, and raises `ConfigError` for a file of which nothing can be made.
    ``retry`` and ``clock`` are those of `Site`. What happens is published in ``events``; without
    any, faults are logged.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        read: Callable[[frozenset[str]], Config],
        *,
        faults: Iterable[Fault] = (),
        retry: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        events: Events | None = None,
    ) -> None:
        self._backend = backend
        self._read = read
        self.events = events or _logged()
        self._retry = retry
        self._clock = clock
        self._sites: Mapping[str, Site | UnusableSite] = {}
        self._table = HostTable.build({}, None)
        self._config = config
        self._faults: tuple[Fault, ...] = ()
        self._generations: dict[str, int] = {}
        self._modes: dict[str, Mode] = {}
        # Kept up to date by `_follow`, for there may be thousands of sites, most of them cold.
        self._warm: dict[str, Site | UnusableSite] = {}
        self._failing: dict[str, Site | UnusableSite] = {}
        self._leaving: set[Site] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiting: _Run | None = None
        self._turn = asyncio.Lock()
        self._adopt(config)
        self._note_faults(tuple(faults))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        sites = [site for site in self._sites.values() if isinstance(site, Site)]
        await asyncio.gather(*(site.close(STOP_DRAIN) for site in (*sites, *self._leaving)))

    def find(self, host: str) -> Site | UnusableSite | None:
        """The site that answers to ``host``, which is in normal form."""
        name = self._table.find(host)
        return None if name is None else self._sites[name]

    def status(self, *, cold: bool = True) -> GatewayStatus:
        """What the gateway looks like now, sites in the order of ``sites.json``.

        Without ``cold``, the sites of which there may be thousands are left out, and the others are
        in any order.
        """
        sites = (self._sites if cold else self._warm).values()
        return GatewayStatus(tuple(site.status() for site in sites), self._faults, self.degraded)

    @property
    def degraded(self) -> bool:
        """Whether anything is not as ``sites.json`` wants it; costs the same with any number."""
        return bool(self._faults or self._failing)

    @property
    def warm(self) -> frozenset[str]:
        """The sites that are not cold."""
        return frozenset(self._warm)

    def site_status(self, name: str) -> SiteStatus:
        """What one site looks like now; raises `UnknownSiteError`."""
        try:
            return self._sites[name].status()
        except KeyError:
            raise UnknownSiteError(f"sites.json has no site {name!r}") from None

    def loaded(self) -> list[Site]:
        """The sites whose code is loaded."""
        return [
            site
            for site in self._warm.values()
            if isinstance(site, Site) and site.state is State.READY
        ]

    def watched_sites(self) -> list[Site]:
        """The sites that are to be reloaded when their code changes, and have been loaded."""
        return [
            site
            for site in self._warm.values()
            if isinstance(site, Site)
            and site.config.watch
            and site.state in (State.READY, State.FAILED)
        ]

    def mode_of(self, name: str) -> Mode:
        """The mode of a site; raises `UnknownSiteError`."""
        return self._site(name).gate.mode

    @property
    def modes(self) -> Mapping[str, Mode]:
        """The modes that were ever set, also of sites that have left or are yet to come."""
        return MappingProxyType(self._modes)

    def set_modes(self, modes: Mapping[str, Mode]) -> None:
        """Put sites into modes, at once, also those that are yet to come."""
        self._modes.update(modes)
        for name, mode in modes.items():
            if isinstance(site := self._sites.get(name), Site):
                changed = site.gate.mode is not mode
                site.gate.set(mode)
                if changed:
                    self.events.publish(ModeChanged(name, mode))

    async def quiet(self, name: str, patience: float) -> int:
        """How many requests are in flight at a site once none is, or after ``patience`` seconds."""
        site = self._site(name)
        end = self._clock() + patience
        while site.in_flight and self._clock() < end:
            await asyncio.sleep(_LOOK)
        return site.in_flight

    @property
    def watched(self) -> frozenset[Path]:
        """The files that the current configuration was made of."""
        return self._config.watched

    @property
    def faulty(self) -> bool:
        """Whether the file on disk is not what is served, because something is wrong with it."""
        return bool(self._faults)

    @property
    def preloaded(self) -> frozenset[str]:
        """The sites that want to be loaded before anybody asks for them."""
        return frozenset(name for name, entry in self._config.sites.items() if entry.preload)

    def preload(
        self, names: Iterable[str] = (), cause: Cause = A_REQUEST
    ) -> asyncio.Task[list[None]]:
        """Load, in the background, the sites that want it, and those of ``names`` that exist."""
        wanted = self.preloaded.union(names)
        sites = [self._sites[name] for name in self._sites if name in wanted]
        loads = (partial(site.load, cause) for site in sites if isinstance(site, Site))
        return self._start(_in_turns(loads))

    async def reload(self, names: Iterable[str] = (), cause: Cause = A_REQUEST) -> Report:
        """Re-read the file, apply what changed, and reload.

        With ``names``, those sites are reloaded, or loaded if they are cold; without, all that are
        loaded or failed. Reloads that come while one runs share the one that follows it.

        The report covers the sites that the caller asked for or the file changed. Raises
        `ConfigError` (nothing changed) and `UnknownSiteError` (the rest was applied). Faults of
        others than ``names`` are no hindrance; the file then counts for ``names`` only.
        """
        demand = _Demand.of(names, cause)
        report = await self._submit(demand)
        if unknown := sorted(demand.named.keys() - self._sites.keys()):
            raise UnknownSiteError(f"sites.json has no site {', '.join(map(repr, unknown))}")
        return report

    async def refresh(self, cause: Cause = A_REQUEST) -> Report:
        """Re-read the file and bring it into effect; raises `ConfigError` (nothing changed)."""
        return await self._submit(_Demand(cause))

    def _site(self, name: str) -> Site:
        site = self._sites.get(name)
        if not isinstance(site, Site):
            raise UnknownSiteError(f"sites.json has no site {name!r} that can be served")
        return site

    # Runs

    async def _submit(self, demand: _Demand) -> Report:
        run = self._waiting
        if run is None:
            run = self._waiting = _Run(demand)
            run.task = self._start(self._perform(run))
        else:
            run.demand |= demand
        # Not awaited directly: a client that leaves must not stop what others wait for.
        await asyncio.wait({run.task})
        return run.task.result().report(demand)

    async def _perform(self, run: _Run) -> _Done:
        async with self._turn:
            # From here on the file may already be read: later demands form the next run.
            self._waiting = None
            config, demand, faults = await self._read_for(run.demand)
            diff = self._adopt(config)
            sites = self._sites
        # Loading is outside the turn: a site that hangs holds up its own reloads and no others.
        told = sites.keys() if demand.every else diff.added | diff.changed | demand.named.keys()
        wanted = diff.stale.union(demand.named, self.preloaded, self.warm if demand.every else ())
        outcomes = {
            name: Outcome(Result.ADDED if name in diff.added else Result.UNCHANGED, 0)
            for name in sites
            if name in told
        }
        jobs = {
            name: partial(self._settle, site, diff, demand)
            for name, site in sites.items()
            if name in wanted
        }
        settled = await _in_turns(jobs.values())
        outcomes.update(zip(jobs, settled, strict=True))
        removed = {
            name: Outcome(Result.REMOVED, self._generations.get(name, 0))
            for name in sorted(diff.removed)
        }
        for name, outcome in removed.items():
            self.events.publish(Removed(name, outcome.generation, demand.by))
        return _Done(
            diff, MappingProxyType({**outcomes, **removed}), frozenset(demand.named), faults
        )

    async def _settle(self, site: Site | UnusableSite, diff: _Diff, demand: _Demand) -> Outcome:
        """Bring up what the file or somebody wants of one site."""
        assert isinstance(site, Site), "a strict reading leaves no unusable site"
        name = site.config.name
        before = site.status()
        if before.state is State.CLOSED:  # by a later run, while this waited for its turn
            return Outcome(Result.REMOVED, 0)
        preload = site.config.preload and before.state is State.COLD
        if not (name in diff.stale or preload or demand.covers(name, before.state)):
            result = Result.ADDED if name in diff.added else Result.UNCHANGED
            return Outcome(result, before.generation)
        started = self._clock()
        await site.reload(demand.cause_of(name))
        after = site.status()
        duration = round((self._clock() - started) * 1000, 1)
        if after.state is State.CLOSED:
            return Outcome(Result.REMOVED, 0, duration)
        if after.failure:
            return Outcome(Result.FAILED, after.generation, duration, after.failure.reason)
        result = Result.RELOADED if before.generation else Result.LOADED
        return Outcome(result, after.generation, duration)

    async def _read_for(self, demand: _Demand) -> tuple[Config, _Demand, tuple[Fault, ...]]:
        """Return what is to be served, what is left of the demand, and the faults of the file.

        A file with a fault is not served. A site that was named is an exception: its entry counts
        if it has no fault and its hosts stay, so that no site hinders the deploys of others.
        Raises `ConfigError` if that leaves nothing of the demand.
        """
        try:
            names = frozenset(() if demand.whole else demand.named)
            config = await asyncio.to_thread(self._read, names)
        except ConfigError as error:
            self._note_faults(error.faults)
            raise
        self._note_faults(config.faults)
        if not config.faults:
            return config, demand, ()
        served, read = self._config.sites, config.sites
        sound = {
            name
            for name in demand.named
            if name in served and name in read and read[name].hosts == served[name].hosts
        }
        named = {
            name: demand.named[name]
            for group in demand.together
            if group <= sound
            for name in group
        }
        if not named:
            raise ConfigError(config.faults)
        sites = MappingProxyType({**served, **{name: read[name] for name in named}})
        return replace(self._config, sites=sites), _Demand(demand.by, named=named), config.faults

    # The step that changes what is served

    def _adopt(self, config: Config) -> _Diff:
        """Put a configuration into effect; synchronous, so that no request sees half of it."""
        diff = _Diff.between(self._sites, config)
        entries: dict[str, SiteConfig | FaultySite] = {**config.sites, **config.faulty}
        table = HostTable.build({name: e.hosts for name, e in entries.items()}, config.default_site)
        sites: dict[str, Site | UnusableSite] = {
            name: self._site_for(entry) for name, entry in config.sites.items()
        }
        sites.update((name, UnusableSite(faulty)) for name, faulty in config.faulty.items())
        leaving = [self._sites[name] for name in diff.removed]
        self._sites, self._table, self._config = sites, table, config
        faulty = {name: sites[name] for name in config.faulty}
        self._warm, self._failing = (
            {name: site for name, site in before.items() if sites.get(name) is site} | faulty
            for before in (self._warm, self._failing)
        )
        for site in leaving:
            if isinstance(site, Site):
                self._generations[site.config.name] = site.generations
                self._leaving.add(site)
                self._start(self._close(site))
        return diff

    def _site_for(self, entry: SiteConfig) -> Site:
        site = self._sites.get(entry.name)
        if isinstance(site, Site):
            site.config = entry
            return site
        return Site(
            entry,
            self._backend,
            retry=self._retry,
            generations=self._generations.get(entry.name, 0),
            mode=self._modes.get(entry.name, Mode.OPEN),
            clock=self._clock,
            events=self.events,
            changed=self._follow,
        )

    def _follow(self, site: Site) -> None:
        """Take note of what a site has become."""
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

    async def _close(self, site: Site) -> None:
        await site.close()
        self._leaving.discard(site)

    def _note_faults(self, faults: tuple[Fault, ...]) -> None:
        """Remember what is wrong with the file, and say it once."""
        if faults != self._faults:
            self.events.publish(FaultsChanged(faults))
        self._faults = faults

    def _start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run something in the background, to be cancelled when the gateway stops."""
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A caller that has left never asks what became of its run.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task


async def _in_turns(jobs: Iterable[Callable[[], Awaitable[_T]]]) -> list[_T]:
    """Do the jobs, `LOADS_AT_ONCE` at the same time; their results in the same order."""
    turn = asyncio.Semaphore(LOADS_AT_ONCE)

    async def do(job: Callable[[], Awaitable[_T]]) -> _T:
        async with turn:
            return await job()

    return await asyncio.gather(*(do(job) for job in jobs))
