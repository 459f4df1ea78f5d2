"""Carry out in all workers what somebody has asked of one of them.

The worker that is asked writes an *order* into the store, which all workers share. Each worker
looks there several times a second, carries out new orders, and writes down the outcome. The store
also has the modes of the sites, and a worker follows these whether it has seen the orders or not
(`gateway.cluster.modes`). A worker that starts needs no earlier orders, because it reads the code
from the disk anyway.

The worker that is asked for a reload tries it first. That is the *trial*. Only the sites that it
could load are then ordered from the others. So a bad deploy costs one load, in one worker. The
others know of the trial, and if that worker dies in it, one of them tries again
(`gateway.cluster.takeover`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import multiprocessing
import time
from collections.abc import Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, Self

from gateway.cluster.blame import Blame, Files, Known
from gateway.cluster.crashes import Crashes
from gateway.cluster.identity import Identity, seconds_of_life
from gateway.cluster.loads import Loads
from gateway.cluster.modes import Modes
from gateway.cluster.sightings import Condition, Sightings
from gateway.cluster.stopping import StopSignal
from gateway.cluster.store import STOPPING, End, Entry, Held, Order, Store, StoreError, Worker
from gateway.cluster.store.thread import StoreThread
from gateway.cluster.takeover import TRIAL, Takeovers
from gateway.errors import GatewayError, UnknownSiteError
from gateway.sites.events import THE_START, Cause
from gateway.sites.gate import Mode
from gateway.sites.registry import Registry
from gateway.sites.reloads import Reloads, Report, Result
from gateway.sites.site import Site
from gateway.sites.state import State

logger = logging.getLogger("gateway.control")

POLL_INTERVAL: Final = 0.2
"""Seconds between two looks at the store. While nothing is new, a look costs few system calls."""
DESCRIBE: Final = 1.0
"""Seconds between two descriptions of a worker's sites, which cost more with many sites."""
BEAT: Final = 2.0
"""Seconds after which a worker reports again, even if nothing has changed."""
DEADLINE: Final = 60.0
"""Seconds that an answer waits for an order. A late worker still carries the order out."""
STALLED_AFTER: Final = 10.0
"""Seconds without a report after which another worker is said to stand still, if it lives."""
REMEMBERED: Final = 3600.0
"""Seconds after which the store forgets a worker that has ended, and the sites it had in use."""
READY_WITHIN: Final = 3.0
"""Seconds from the start of a process in which it loads the sites in use before it serves. uvicorn
gives up a restart if a worker is not ready within 5 s (``--timeout-worker-healthcheck``). The other
sites are loaded while the worker serves."""


@dataclass(frozen=True, slots=True)
class Others:
    """The outcomes of an order in the other workers.

    ``told`` has them by the id of the worker. Each has a ``status``: ``ok``, ``failed``, ``late``
    (not done within `DEADLINE`) or ``gone`` (the process has ended; its successor reads the new
    code). ``trouble`` says why the others could not be asked.
    """

    told: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trouble: str | None = None

    @property
    def failed(self) -> bool:
        """True if a worker could not carry the order out."""
        return self._any("failed")

    @property
    def late(self) -> bool:
        """True if a worker has not yet carried the order out, as far as is known."""
        return self._any("late")

    def _any(self, status: str) -> bool:
        return any(other["status"] == status for other in self.told.values())


@dataclass(frozen=True, slots=True)
class Change:
    """The outcome of a change of mode; ``in_flight`` counts the site's requests in this worker."""

    mode: Mode
    in_flight: int
    others: Others


@dataclass(frozen=True, slots=True)
class Round:
    """The outcome of a reload in this worker (``report``) and in the others."""

    report: Report
    others: Others = Others()

    @property
    def failed(self) -> bool:
        """True if a site could not be loaded, in this worker or in another one."""
        return self.report.failed or self.others.failed


class _News(NamedTuple):
    identity: str
    begin: int
    orders: list[Order]
    workers: list[Worker]
    modes: dict[str, Held]
    known: Known


class Control:
    """One worker's part in the agreement, active inside ``async with``."""

    def __init__(
        self,
        registry: Registry,
        reloads: Reloads,
        store_thread: StoreThread,
        identity: Identity,
        loads: Loads,
        files: Files,
        sightings: Sightings | None = None,
        crash_limit: int = 0,
    ) -> None:
        self.sightings = sightings or Sightings()
        """What this worker has seen of itself."""
        self._registry = registry
        self._reloads = reloads
        self._loads = loads
        self._store_thread = store_thread
        self._identity = identity
        self._stop_signal = StopSignal()
        self._blame = Blame(registry, store_thread, identity.id, files, crash_limit)
        self._crashes = Crashes(
            store_thread,
            identity,
            lambda crash: registry.events.publish(self._blame.masked(crash)),
            bury=self._blame.bury,
        )
        self._takeovers = Takeovers(store_thread, identity)
        self._modes = Modes(registry, store_thread, identity.id)
        self._kinds = {
            "reload": self._reload_here,
            "mode": self._mode_here,
            TRIAL: self._take_over_here,
        }
        self._store_identity = ""
        self._carried = 0
        self._missed = False
        self._reported: Mapping[str, Any] = {}
        self._described_at = self._reported_at = -math.inf
        self._workers: dict[str, Worker] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._stop_signal.__enter__()
        await self._poll()
        self._task = asyncio.create_task(self._run(), name="agree with the other workers")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_signal.__exit__()
        tasks = {self._task, *self._tasks}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        # Also without a signal: the loads that it leaves have not ended it.
        worker = self._worker({**self._health(), "status": STOPPING}, ended=True)
        self._store_thread.tell(lambda store: store.report(worker))

    async def warm(self) -> None:
        """Load the sites with ``preload`` and those in use; wait for the latter while time is left.

        A site is in use if a worker, running or ended, had it loaded at its last report. Sites
        whose load may have ended a worker are left to those who ask for them, so that every worker
        comes to serve. Those whose code is refused fail at once.
        """
        suspects = await self._loads.suspects()
        names = suspects.refused.union(
            name
            for worker in self._workers.values()
            for name, site in worker.health.get("sites", {}).items()
            if site["state"] == State.READY
        )
        loading = self._start(
            self._load_at_start(names, suspects.suspected), "load sites at the start"
        )
        # If the age is not known, the imports are assumed to have used half of the time.
        age = seconds_of_life()
        left = READY_WITHIN - age if age is not None else READY_WITHIN / 2
        if names and left > 0:
            await asyncio.wait({loading}, timeout=left)

    async def _load_at_start(self, names: frozenset[str], left_out: frozenset[str]) -> None:
        await self._reloads.preload(names, THE_START, left_out=left_out)

    # Requests of operators

    async def reload(self, names: Iterable[str], asker: str, *, attempt: int = 1) -> Round:
        """Reload sites as `Reloads.reload` does: in this worker first, then in all others.

        ``attempt`` is 2 if the worker that was asked first died in its attempt. Raises
        `UnknownSiteError`.
        """
        named = sorted(set(names))
        if named and attempt == 1:
            await self._loads.pardon(named)
        async with self._takeovers.announced(named, asker, attempt):
            try:
                report = await self._reload(named, asker)
            except UnknownSiteError:
                # The others get the order too, for the sites that exist. Nobody waits for them.
                await self._order("reload", {"sites": named, "except": []}, asker, deadline=0.0)
                raise
            failed = sorted(n for n, o in report.sites.items() if o.outcome is Result.FAILED)
            await self._let_in(set(named) - set(failed), asker)
            if named and not set(named) - set(failed):
                return Round(report)
            details = {"sites": named, "except": failed}
            return Round(report, await self._order("reload", details, asker))

    async def refresh(self) -> Report:
        """Bring ``sites.json`` into effect in this worker; the others watch the file themselves."""
        return await self._reloads.refresh(Cause("reload", "file"))

    async def follow(self, site: Site) -> None:
        """Reload a site whose code has changed in this worker; the others watch it themselves."""
        await site.reload(Cause("reload", "watch"))
        if not site.failure:
            await self._let_in({site.config.name}, "watch")

    async def _let_in(self, sites: Collection[str], asker: str) -> None:
        with suppress(StoreError):  # then they stay set aside, and `/_health` says why
            await self._blame.forgive(sites, asker)

    async def change_mode(
        self, site: str, action: str, asker: str, patience: float = 0.0
    ) -> Change:
        """Open, pause or close a site in all workers, also in those that start later.

        Waits until the site has no request in flight, up to ``patience`` seconds. Raises
        `ModeError` if the mode in the store does not allow ``action``, and `UnknownSiteError`.
        """
        try:
            # In this sequence: a worker that is there before the order exists will find it.
            workers = await self._store_thread.ask(self._reachable)
            held = await self._modes.change(site, action, asker, patience)
        except StoreError as error:
            mode = self._modes.change_alone(site, action, asker)
            in_flight = await self._registry.quiet(site, patience)
            return Change(mode, in_flight, self._unasked(error))
        in_flight, others = await asyncio.gather(
            self._registry.quiet(site, patience), self._told(held.number, workers)
        )
        return Change(Mode(held.mode), in_flight, others)

    async def history(self, site: str | None, limit: int) -> list[Entry]:
        """Return the newest ``limit`` entries, of one site or of all; raises `StoreError`."""
        return await self._store_thread.ask(lambda store: store.history(site, limit))

    # State

    @property
    def me(self) -> str:
        """The id of this worker."""
        return self._identity.id

    @property
    def stopping(self) -> bool:
        """True from the moment in which this worker was asked to end."""
        return self._stop_signal.asked

    @property
    def trouble(self) -> str | None:
        """The reason why the workers cannot agree at the moment, or ``None``."""
        return self._store_thread.error or self._loads.trouble

    def others(self) -> dict[str, Mapping[str, Any]]:
        """Return the last report of each other worker that lives, by id.

        One that has not reported for `STALLED_AFTER` seconds is said to be stalled.
        """
        return {
            worker.id: self._told_by(worker)
            for worker in self._workers.values()
            if worker.id != self.me
            and (self._identity.can_reach(worker) or self._identity.lives(worker))
        }

    def _told_by(self, worker: Worker) -> Mapping[str, Any]:
        silent = self._crashes.silence(worker)
        if silent < STALLED_AFTER:
            return worker.health
        return {**worker.health, "status": Condition.STALLED, "silent": round(silent, 1)}

    @property
    def ends(self) -> list[End]:
        """The ends of workers that nobody asked for, of the last hour, the newest first."""
        return self._blame.known.ends

    # Orders

    async def _order(
        self, kind: str, details: Mapping[str, Any], asker: str, deadline: float = DEADLINE
    ) -> Others:
        """Give the other workers an order, and wait for the outcomes."""

        def place(store: Store) -> tuple[list[Worker], int]:
            # In this sequence: a worker that is there before the order exists will find it.
            return self._reachable(store), store.order(kind, details, self.me, asker)

        try:
            workers, number = await self._store_thread.ask(place)
        except StoreError as error:
            return self._unasked(error)
        return await self._told(number, workers, deadline)

    def _reachable(self, store: Store) -> list[Worker]:
        """Return the workers that run now. Called on the thread of the store."""
        return [worker for worker in store.workers() if self._identity.can_reach(worker)]

    async def _told(
        self, number: int, workers: Iterable[Worker], deadline: float = DEADLINE
    ) -> Others:
        """Wait for an order in the others of ``workers``, and return the outcomes."""
        awaited = {worker.id for worker in workers if worker.id != self.me}
        try:
            return Others(await self._outcomes(number, awaited, deadline))
        except StoreError as error:
            return self._unasked(error)

    def _unasked(self, error: StoreError) -> Others:
        known = set(self.others())
        if not known and multiprocessing.parent_process() is not None:
            # A supervisor started this process, so there are other workers, but not known ones.
            known = {"unknown"}
        return Others({id: {"status": "late"} for id in sorted(known)}, str(error))

    async def _outcomes(
        self, number: int, awaited: Collection[str], deadline: float
    ) -> dict[str, Mapping[str, Any]]:
        until = time.monotonic() + deadline
        while True:
            outcomes, workers = await self._store_thread.ask(
                lambda store: (store.outcomes(number), self._reachable(store))
            )
            there = {worker.id for worker in workers}
            missing = [id for id in awaited if id not in outcomes]
            if time.monotonic() >= until or not there.intersection(missing):
                break
            await asyncio.sleep(POLL_INTERVAL / 2)
        for id in missing:
            outcomes[id] = {"status": "late" if id in there else "gone"}
        return {id: outcomes[id] for id in sorted(awaited)}

    async def _carry_out(self, order: Order) -> None:
        try:
            outcome = await self._kinds[order.kind](order)
        except GatewayError as error:
            outcome = {"status": "failed", "error": str(error)}
        except Exception as error:
            logger.exception("order %d (%s) failed", order.number, order.kind)
            outcome = {"status": "failed", "error": type(error).__name__}
        self._store_thread.tell(lambda store: store.settle(order.number, self.me, outcome))

    async def _reload_here(self, order: Order) -> dict[str, Any]:
        named, left_out = order.details["sites"], set(order.details["except"])
        if not named and left_out:
            named = sorted(self._registry.warm.difference(left_out, self._blame.known.asides))
            if not named:
                await self._reloads.refresh(Cause("reload", order.asker))
                return {"status": "ok", "sites": {}}
        report = await self._reload([name for name in named if name not in left_out], order.asker)
        return report.document()

    async def _take_over_here(self, order: Order) -> dict[str, Any]:
        if await self._takeovers.must_take_over(order):
            logger.warning("worker %s ended amid a reload, which is done here", order.worker)
            await self.reload(order.details["sites"], order.asker, attempt=2)
        return {"status": "ok"}

    async def _mode_here(self, order: Order) -> dict[str, Any]:
        # `_poll` has read the mode after it found the order, so the mode is in effect here.
        site, patience = order.details["site"], order.details["patience"]
        return {"status": "ok", "in_flight": await self._registry.quiet(site, patience)}

    async def _reload(self, names: Collection[str], asker: str) -> Report:
        return await self._reloads.reload(names, Cause("reload", asker))

    # Looking at the store

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            try:
                await self._poll()
            except Exception:
                logger.exception("looking at the store failed; it goes on in a moment")

    async def _poll(self) -> None:
        """Report this worker, read what is new in the store, and begin to carry it out."""
        unexplained = self._blame.unexplained()
        self.sightings.follow({"ends": (unexplained, False)} if unexplained else {}, by="control")
        me = self._news_of_me()
        try:
            news = await self._store_thread.ask(
                partial(
                    _news,
                    me=me,
                    known=self._store_identity,
                    after=self._carried,
                    modes_after=self._modes.seen,
                    missed=self._missed,
                )
            )
        except StoreError:
            self._missed = True
            self._crashes.reset()
            self._described_at = self._reported_at = -math.inf
            return
        self._missed = False
        self._loads.store_works()
        if news is not None:
            self._take(news)
        with suppress(StoreError):
            if me is not None:  # it has just been written, so the store works
                await self._modes.offer()
            await self._crashes.check(self._workers.values())
            await self._blame.look(self._workers.values())

    def _take(self, news: _News) -> None:
        self._workers = {worker.id: worker for worker in news.workers}
        if news.identity != self._store_identity:
            self._store_identity, self._carried = news.identity, news.begin
            self._modes.begin_anew()
        self._modes.follow(news.modes)
        self._blame.follow(news.known)
        for order in news.orders:
            self._carried = order.number
            if order.worker != self.me:
                self._start(self._carry_out(order), f"order {order.number}")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that is cancelled when this control ends, if it still runs then."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _news_of_me(self) -> Worker | None:
        """Return the report to write now; ``None`` if the last one is recent and still true."""
        now = time.monotonic()
        turned = self.stopping and self._reported.get("status") != STOPPING
        if now - self._described_at < DESCRIBE and not turned:
            return None
        health, self._described_at = self._health(), now
        if health == self._reported and now - self._reported_at < BEAT:
            return None
        self._reported, self._reported_at = health, now
        return self._worker(health)

    def _worker(self, health: Mapping[str, Any], *, ended: bool = False) -> Worker:
        me = self._identity
        return Worker(me.id, me.pid, me.place, me.born, time.time(), ended, health)

    def _health(self) -> dict[str, Any]:
        """Return the health of this worker, without cold sites: there may be thousands of them."""
        status = self._registry.status(cold=False)
        condition = self.sightings.condition(troubled=status.degraded)
        seen = self.sightings.document()
        return {
            "status": STOPPING if self.stopping else condition,
            **({"seen": seen} if seen else {}),
            "sites": {
                site.name: {
                    "state": site.state,
                    "generation": site.generation,
                    "error": site.failure.reason if site.failure else None,
                }
                for site in status.sites
            },
        }


def _news(
    store: Store, *, me: Worker | None, known: str, after: int, modes_after: int, missed: bool
) -> _News | None:
    """Return what is new since the last look, or ``None``. Runs on the store's thread.

    ``missed`` is true if an earlier answer may have been lost.
    """
    joining = store.identity != known
    # Before the report: others that find this worker in the store rely on it to see later orders.
    begin = store.last_order() if joining else after
    if me is not None:
        if joining:
            store.forget(time.time() - REMEMBERED)
        store.report(me)
    # Before the reading: whatever is written in between is found at the next look.
    if not store.changed() and not joining and not missed:
        return None
    orders, workers = store.orders(begin), store.workers()
    # After the orders: a worker that carries one out has the mode of that order, or a later one.
    modes = store.modes(-1 if joining else modes_after)
    return _News(store.identity, begin, orders, workers, modes, Known.of(store))
