"""Reloads: they read the file, put it into effect, and bring up what changed or was asked for.

*Code follows the last good generation*: what serves goes on serving until its successor is up.
Reloads that are asked for while one runs share the one that follows it.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Self, TypeVar

from gateway.config import Config
from gateway.errors import ConfigError, Fault, UnknownSiteError
from gateway.sites.events import A_REQUEST, Cause, Removed
from gateway.sites.registry import Diff, Registry
from gateway.sites.site import Site, SiteStatus, UnusableSite
from gateway.sites.state import State

LOADS_AT_ONCE: Final = 2
"""The number of sites that load at the same time in a reload or a preload. Loading is mostly Python
that holds the GIL, so more of it at once only makes visitors wait longer."""

_T = TypeVar("_T")


class Result(StrEnum):
    """The result of a reload for one site.

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
    """The outcome for one site: ``generation`` serves now (0: none), ``error`` is one line.

    With a ``warning``, also one line, the new code serves although it did not pass its probe.
    """

    outcome: Result
    generation: int
    duration_ms: float = 0.0
    error: str | None = None
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The outcomes for the sites that a reload was asked for, by name."""

    sites: Mapping[str, Outcome]

    @property
    def failed(self) -> bool:
        """True if a new generation did not come up."""
        return any(outcome.outcome is Result.FAILED for outcome in self.sites.values())

    def document(self) -> dict[str, Any]:
        """Return the report as values for JSON."""
        return {
            "status": "failed" if self.failed else "ok",
            "sites": {name: asdict(outcome) for name, outcome in self.sites.items()},
        }


@dataclass(frozen=True, slots=True)
class _Demand:
    """The sites that a run has to bring up beside those whose entries changed.

    ``by`` asked first; ``named`` has the cause for each site that somebody named, and ``every``
    the cause of a reload of all. ``whole`` is true if the run has to find changes in the files of
    all sites, their ``env_file`` for one; a reload of named sites leaves these to the watch.
    ``together`` has one set for each asker that named sites: either all of a set are reloaded, or
    none.
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

    def covers(self, name: str, site: SiteStatus) -> bool:
        """Tell whether a site is to be brought up; one that is set aside only by its name."""
        everywhere = self.every is not None and site.aside is None
        return name in self.named or (everywhere and site.state is not State.COLD)

    def cause_of(self, name: str) -> Cause:
        return self.named.get(name) or self.every or self.by


@dataclass(frozen=True, slots=True)
class _Done:
    """A run that has ended. If the file has ``faults``, it was for the sites in ``named`` only."""

    diff: Diff
    outcomes: Mapping[str, Outcome]
    named: frozenset[str]
    faults: tuple[Fault, ...]

    def report(self, demand: _Demand) -> Report:
        """Return the report for one of the demands.

        Raises `ConfigError` if faults of the file kept the run from doing what it demands.
        """
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
    """A reload. It takes further demands until it begins."""

    demand: _Demand
    task: asyncio.Task[_Done] = field(init=False)


class Reloads:
    """The reloads of a registry, while inside ``async with``. Leaving cancels them.

    ``read`` reads the file leniently, for the sake of the sites whose names it is given, or of all
    if there is none. It blocks, and raises `ConfigError` for a file of which nothing can be made.
    """

    def __init__(
        self,
        registry: Registry,
        read: Callable[[frozenset[str]], Config],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._read = read
        self._clock = clock
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiting: _Run | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def preload(
        self,
        names: Iterable[str] = (),
        cause: Cause = A_REQUEST,
        *,
        left_out: Iterable[str] = (),
    ) -> asyncio.Task[list[None]]:
        """Load, in the background, the sites that want it, and those of ``names`` that exist.

        Those in ``left_out`` are not loaded.
        """
        wanted = self._registry.preloaded.union(names).difference(left_out)
        sites = [site for name, site in self._registry.sites.items() if name in wanted]
        loads = (partial(site.load, cause) for site in sites if isinstance(site, Site))
        return self._start(_in_turns(loads))

    async def reload(self, names: Iterable[str] = (), cause: Cause = A_REQUEST) -> Report:
        """Re-read the file, apply what changed, and reload.

        With ``names``, those sites are reloaded, or loaded if they are cold; without, all that are
        loaded or failed and not set aside. Reloads that come while one runs share the one that
        follows it.

        The report covers the sites that the caller asked for or the file changed. Raises
        `ConfigError` (nothing changed) and `UnknownSiteError` (the rest was applied). Faults of
        others than ``names`` are no hindrance; the file then counts for ``names`` only.
        """
        demand = _Demand.of(names, cause)
        report = await self._submit(demand)
        if unknown := sorted(demand.named.keys() - self._registry.sites.keys()):
            raise UnknownSiteError(f"sites.json has no site {', '.join(map(repr, unknown))}")
        return report

    async def refresh(self, cause: Cause = A_REQUEST) -> Report:
        """Re-read the file and bring it into effect; raises `ConfigError` (nothing changed)."""
        return await self._submit(_Demand(cause))

    # Runs

    async def _submit(self, demand: _Demand) -> Report:
        run = self._waiting
        if run is None:
            run = self._waiting = _Run(demand)
            run.task = self._start(self._perform(run))
        else:
            run.demand |= demand
        # The task is not awaited directly: a client that leaves must not cancel it for the others.
        await asyncio.wait({run.task})
        return run.task.result().report(demand)

    async def _perform(self, run: _Run) -> _Done:
        async with self._turn:
            # Later demands form the next run, because the file may already be read from here on.
            self._waiting = None
            config, demand, faults = await self._read_for(run.demand)
            before = self._registry.sites
            diff = self._registry.adopt(config, demand.by)
            sites = self._registry.sites
        # Loading is outside the turn, so that a site that hangs holds up only its own reloads.
        told = sites.keys() if demand.every else diff.added | diff.changed | demand.named.keys()
        warm = self._registry.warm if demand.every else ()
        wanted = diff.stale.union(demand.named, self._registry.preloaded, warm)
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
            name: Outcome(Result.REMOVED, before[name].generations) for name in sorted(diff.removed)
        }
        for name, outcome in removed.items():
            self._registry.events.publish(Removed(name, outcome.generation, demand.by))
        return _Done(
            diff, MappingProxyType({**outcomes, **removed}), frozenset(demand.named), faults
        )

    async def _settle(self, site: Site | UnusableSite, diff: Diff, demand: _Demand) -> Outcome:
        """Reload one site if the file or somebody wants it, and return the outcome."""
        assert isinstance(site, Site), "a strict reading leaves no unusable site"
        name = site.config.name
        before = site.status()
        if before.state is State.CLOSED:  # by a later run, while this waited for its turn
            return Outcome(Result.REMOVED, 0)
        preload = site.config.preload and before.state is State.COLD
        if not (name in diff.stale or preload or demand.covers(name, before)):
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
        return Outcome(result, after.generation, duration, warning=after.warning)

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
            self._registry.set_faults(error.faults)
            raise
        self._registry.set_faults(config.faults)
        if not config.faults:
            return config, demand, ()
        now = self._registry.config
        served, read = now.sites, config.sites
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
        return replace(now, sites=sites), _Demand(demand.by, named=named), config.faults

    def _start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run ``work`` in the background; leaving cancels it."""
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # The exception is retrieved here, in case that the caller has left.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task


async def _in_turns(jobs: Iterable[Callable[[], Awaitable[_T]]]) -> list[_T]:
    """Do the jobs, `LOADS_AT_ONCE` at the same time; return their results in the same order.

    Raises what one of them raises, when all have ended.
    """
    turn = asyncio.Semaphore(LOADS_AT_ONCE)

    async def do(job: Callable[[], Awaitable[_T]]) -> _T:
        async with turn:
            return await job()

    results = await asyncio.gather(*(do(job) for job in jobs), return_exceptions=True)
    return [_result(each) for each in results]


def _result(outcome: _T | BaseException) -> _T:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
