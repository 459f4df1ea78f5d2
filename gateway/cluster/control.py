"""The room from which one worker has all of them do something.

What somebody asks of one worker is an *order* in the store; each worker looks there a few times a
second, carries out what is new and says what became of it. The modes of the sites are the store's,
and a worker follows it whether it has seen the orders or not (`gateway.cluster.modes`). One that
starts needs no earlier order: it reads its code from the disk anyway.

A reload is tried by the worker that was asked, and only the sites that came up there are ordered
from the others: a bad deploy costs one load, and no worker but that one spends it. The others know
of the trial, and if that worker dies in it, one of them tries again (`gateway.cluster.takeover`).
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

from gateway.cluster.crashes import Crashes
from gateway.cluster.identity import Identity, seconds_of_life
from gateway.cluster.modes import Modes
from gateway.cluster.stopping import StopSignal
from gateway.cluster.store import Entry, Held, Order, Store, StoreError, Worker
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

LOOK: Final = 0.2
"""Seconds between looks at the store. One costs a system call or two while nothing is new."""
DESCRIBE: Final = 1.0
"""Seconds after which a worker looks at its sites again, which costs more with many of them."""
BEAT: Final = 2.0
"""Seconds after which a worker reports although nothing has changed."""
DEADLINE: Final = 60.0
"""Seconds that an order is waited for. It is carried out afterwards too; the answer says so."""
REMEMBERED: Final = 3600.0
"""Seconds after which a worker that has ended is forgotten, and which sites were in use there."""
READY_WITHIN: Final = 3.0
"""Seconds from the start of the process in which the sites in use are loaded before it serves:
uvicorn gives up a restart when a worker is not ready within 5 s (``--timeout-worker-healthcheck``).
The rest is loaded while it serves."""


@dataclass(frozen=True, slots=True)
class Others:
    """What became of an order in the other workers, by their ids.

    The ``status`` of each is ``ok``, ``failed``, ``late`` (not within `DEADLINE`) or ``gone`` (its
    process has ended; whoever replaces it reads the new code). ``trouble`` says why they could not
    be asked.
    """

    told: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trouble: str | None = None

    @property
    def failed(self) -> bool:
        """Whether somebody could not carry it out."""
        return self._any("failed")

    @property
    def late(self) -> bool:
        """Whether somebody has yet to carry it out, as far as is known."""
        return self._any("late")

    def _any(self, status: str) -> bool:
        return any(other["status"] == status for other in self.told.values())


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a change of mode; ``in_flight`` counts requests of the site in this worker."""

    mode: Mode
    in_flight: int
    others: Others


@dataclass(frozen=True, slots=True)
class Round:
    """What became of a reload, here and elsewhere."""

    report: Report
    others: Others = Others()

    @property
    def failed(self) -> bool:
        """Whether something did not come up, here or elsewhere."""
        return self.report.failed or self.others.failed


class _News(NamedTuple):
    identity: str
    begin: int
    orders: list[Order]
    workers: list[Worker]
    modes: dict[str, Held]


class Control:
    """One worker's part in the agreement, while inside ``async with``."""

    def __init__(
        self,
        registry: Registry,
        reloads: Reloads,
        store_thread: StoreThread,
        identity: Identity,
    ) -> None:
        self._registry = registry
        self._reloads = reloads
        self._store_thread = store_thread
        self._identity = identity
        self._stop_signal = StopSignal()
        self._crashes = Crashes(store_thread, identity, registry.events.publish)
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
        await self._look()
        self._task = asyncio.create_task(self._run(), name="agree with the other workers")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_signal.__exit__()
        tasks = {self._task, *self._tasks}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        worker = self._worker(self._health(), ended=True)
        self._store_thread.tell(lambda store: store.report(worker))

    async def warm(self) -> None:
        """Load what wants it and what was in use, and wait for the latter as long as there is time.

        In use is what a worker had loaded when it last reported, running or ended.
        """
        names = frozenset(
            name
            for worker in self._workers.values()
            for name, site in worker.health.get("sites", {}).items()
            if site["state"] == State.READY
        )
        loading = self._start(self._load_at_start(names), "load sites at the start")
        # Without knowledge of the age, the imports are taken to have used half of the time.
        age = seconds_of_life()
        left = READY_WITHIN - age if age is not None else READY_WITHIN / 2
        if names and left > 0:
            await asyncio.wait({loading}, timeout=left)

    async def _load_at_start(self, names: frozenset[str]) -> None:
        await self._reloads.preload(names, THE_START)

    # What somebody asks for

    async def reload(self, names: Iterable[str], asker: str, *, attempt: int = 1) -> Round:
        """Reload as `Reloads.reload` does, here first and then in every other worker.

        The ``attempt`` is the second if the worker that was asked first died in its own.
        """
        named = sorted(set(names))
        async with self._takeovers.announced(named, asker, attempt):
            try:
                report = await self._reload(named, asker)
            except UnknownSiteError:
                # The others apply the rest too, and nobody waits for that.
                await self._order("reload", {"sites": named, "except": []}, asker, deadline=0.0)
                raise
            failed = sorted(n for n, o in report.sites.items() if o.outcome is Result.FAILED)
            if named and not set(named) - set(failed):
                return Round(report)
            details = {"sites": named, "except": failed}
            return Round(report, await self._order("reload", details, asker))

    async def refresh(self) -> Report:
        """Bring ``sites.json`` into effect here; the others watch it themselves."""
        return await self._reloads.refresh(Cause("reload", "file"))

    async def follow(self, site: Site) -> None:
        """Reload a site whose code has changed, here; the others watch it themselves."""
        await site.reload(Cause("reload", "watch"))

    async def change_mode(
        self, site: str, action: str, asker: str, patience: float = 0.0
    ) -> Change:
        """Open, pause or close a site everywhere, also in workers and gateways that start later.

        Waits until no request is in flight there, up to ``patience`` seconds. Raises `ModeError`,
        by the mode that the store holds, and `UnknownSiteError`.
        """
        try:
            # In this sequence: who is seen before the order exists will find it.
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
        """The newest entries of the history; raises `StoreError`."""
        return await self._store_thread.ask(lambda store: store.history(site, limit))

    # What is known

    @property
    def me(self) -> str:
        """The id of this worker."""
        return self._identity.id

    @property
    def stopping(self) -> bool:
        """Whether this worker was asked to end."""
        return self._stop_signal.asked

    @property
    def trouble(self) -> str | None:
        """Why the workers cannot agree at the moment."""
        return self._store_thread.error

    def others(self) -> dict[str, Mapping[str, Any]]:
        """How the other workers are, as they said last; by id."""
        return {
            worker.id: worker.health
            for worker in self._workers.values()
            if worker.id != self.me and self._identity.can_reach(worker)
        }

    # Orders

    async def _order(
        self, kind: str, details: Mapping[str, Any], asker: str, deadline: float = DEADLINE
    ) -> Others:
        """Have the others do something."""

        def place(store: Store) -> tuple[list[Worker], int]:
            # In this sequence: who is seen before the order exists will find it.
            return self._reachable(store), store.order(kind, details, self.me, asker)

        try:
            workers, number = await self._store_thread.ask(place)
        except StoreError as error:
            return self._unasked(error)
        return await self._told(number, workers, deadline)

    def _reachable(self, store: Store) -> list[Worker]:
        """The workers that run now. On the thread of the store."""
        return [worker for worker in store.workers() if self._identity.can_reach(worker)]

    async def _told(
        self, number: int, workers: Iterable[Worker], deadline: float = DEADLINE
    ) -> Others:
        """What becomes of an order in the others, those of ``workers`` that it was made for."""
        awaited = {worker.id for worker in workers if worker.id != self.me}
        try:
            return Others(await self._outcomes(number, awaited, deadline))
        except StoreError as error:
            return self._unasked(error)

    def _unasked(self, error: StoreError) -> Others:
        known = set(self.others())
        if not known and multiprocessing.parent_process() is not None:
            # A supervisor started this process, so there are others, whoever they are.
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
            await asyncio.sleep(LOOK / 2)
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
            named = sorted(self._registry.warm - left_out)
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
        # The look that found the order has read the mode after it, so it is in effect here.
        site, patience = order.details["site"], order.details["patience"]
        return {"status": "ok", "in_flight": await self._registry.quiet(site, patience)}

    async def _reload(self, names: Collection[str], asker: str) -> Report:
        return await self._reloads.reload(names, Cause("reload", asker))

    # Looking at the store

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self._look()
            except Exception:
                logger.exception("looking at the store failed; it goes on in a moment")

    async def _look(self) -> None:
        """Report, learn what is new and begin to carry it out."""
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
        if news is not None:
            self._take(news)
        with suppress(StoreError):
            if me is not None:  # it has just been written, so the store works
                await self._modes.offer()
            await self._crashes.check(self._workers.values())

    def _take(self, news: _News) -> None:
        self._workers = {worker.id: worker for worker in news.workers}
        if news.identity != self._store_identity:
            self._store_identity, self._carried = news.identity, news.begin
            self._modes.begin_anew()
        self._modes.follow(news.modes)
        for order in news.orders:
            self._carried = order.number
            if order.worker != self.me:
                self._start(self._carry_out(order), f"order {order.number}")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Do something beside, at the latest until this ends."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _news_of_me(self) -> Worker | None:
        """What to report at this look; ``None`` if it was reported lately and has not changed."""
        now = time.monotonic()
        turned = self.stopping and self._reported.get("status") != "stopping"
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
        """What others are told: without cold sites, of which there may be thousands."""
        status = self._registry.status(cold=False)
        return {
            "status": "stopping" if self.stopping else "degraded" if status.degraded else "ok",
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
    """What is new since the last look. Runs on the store's thread.

    ``missed`` is whether an answer may have been lost that said so.
    """
    joining = store.identity != known
    # Before reporting: who finds this worker in the store may rely on it to see later orders.
    begin = store.last_order() if joining else after
    if me is not None:
        if joining:
            store.forget(time.time() - REMEMBERED)
        store.report(me)
    # Before reading: what is written in between is then found at the next look.
    if not store.changed() and not joining and not missed:
        return None
    orders, workers = store.orders(begin), store.workers()
    # After the orders: whoever carries one out has the mode that it came with, or a later one.
    modes = store.modes(-1 if joining else modes_after)
    return _News(store.identity, begin, orders, workers, modes)
