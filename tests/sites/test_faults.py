"""Faults at every point of a load, a probe and an unload: whatever raises, all is given back.

Two hostile sites fail, hang, come too late, leave and return, while threads do not start, memory
is short and subscribers raise; real code is loaded into real namespaces. After each step what the
sites, the backend and the pool have counted adds up; at the end a neighbour is answered while all
of it is still going on, and when it is over nothing is left.

``FAULT_STEPS`` is the number of steps of a longer run.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from hypothesis.strategies import booleans, lists, sampled_from, sets, tuples

from gateway.backends import inprocess
from gateway.backends.inprocess import _TURNS, InProcessBackend
from gateway.config import Config, SiteConfig
from gateway.config.limits import Limits
from gateway.errors import UnknownSiteError
from gateway.execution.pool import Threads
from gateway.execution.wsgi import Bridge
from gateway.memory import switch
from gateway.namespace import Namespace
from gateway.sites import registry as registry_module
from gateway.sites import site as site_module
from gateway.sites.events import IDLENESS, Cause, Happening, Loaded
from gateway.sites.loads import Begin
from gateway.sites.registry import Registry
from gateway.sites.reloads import Reloads
from gateway.sites.reporting import Reporter
from gateway.sites.site import Site
from gateway.sites.state import State

from ..execution.wsgi.asgi import Client, Environ, StartResponse

STEPS: Final = int(os.environ.get("FAULT_STEPS", "0"))
HOSTILE: Final = ("one", "two")
NEIGHBOUR: Final = "neighbour"
THREADS: Final = 6
LATE: Final = 0.08
"""Seconds that a hostile site may load; most loads take a tenth of it."""
LIMITS: Final = Limits(
    concurrency=2,  # so that both together leave threads to the neighbour
    load_timeout=LATE,
    probe_timeout=LATE,
    drain_timeout=0.02,
    request_timeout=0,
    queue_wait=3600,
)
OPERATOR: Final = Cause("reload", "operator")

# The code of a site reaches the test through a module that all share.
CODE: Final = """
import atexit, json
world = json.gateway_faults
number = world.imported({name!r})
atexit.register(world.unloaded, {name!r}, number)
world.at("import", {name!r})
def application(environ, start_response):
    return world.answer({name!r}, environ, start_response)
"""

KINDS: Final = ("unloader", "loader", "gateway worker")
"""The threads that may not start."""
PARTS: Final = (
    "claim", "unclaim", "begin", "namespace", "threads", "bridge", "close", "leave", "describe",
    "mask", "subscriber",
)  # fmt: skip
"""What of the gateway's own may raise."""

names = sampled_from(HOSTILE)
raised = {
    "import": [RuntimeError, MemoryError, SystemExit, KeyboardInterrupt, asyncio.CancelledError],
    "exit": [RuntimeError, MemoryError, SystemExit, KeyboardInterrupt, asyncio.CancelledError],
    "answer": [RuntimeError, MemoryError, SystemExit, asyncio.CancelledError],
    **{kind: [RuntimeError] for kind in KINDS},
    **{point: [RuntimeError, MemoryError] for point in PARTS},
}
faults = sampled_from([(point, error) for point, errors in raised.items() for error in errors])


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(inprocess, "_PATIENCE", 0.02)
    monkeypatch.setattr(inprocess, "_LOOK", 0.01)
    monkeypatch.setattr(registry_module, "STOP_DRAIN", 0.02)
    monkeypatch.setattr(registry_module, "_REMEMBERED", 1)
    monkeypatch.setattr(site_module, "CLOSE_TIMEOUT", 0.1)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _under_way(backend: InProcessBackend) -> int:
    """The number of unloads that have not ended."""
    everything = tuple(backend._unloading._unloads.values())
    return sum(not each.ended for unloads in everything for each in tuple(unloads))


class World:
    """What the code of the sites does, and what is known of it."""

    def __init__(self, loop_thread: threading.Thread) -> None:
        self.armed: dict[str, list[type[BaseException]]] = {}
        self.hangs: set[tuple[str, str]] = set()
        self.go_on = threading.Event()
        self._hanging: dict[threading.Thread, tuple[str, str, threading.Event]] = {}
        self.alive: dict[int, threading.Thread] = {}
        """The code that was imported and not unloaded, with the thread that is at it now."""
        self.wrong: list[str] = []
        self._imports = 0
        self._loop_thread = loop_thread
        self._lock = threading.Lock()

    def passes(self, point: str) -> None:
        """Raise what is to be raised at ``point``."""
        with self._lock:
            error = self.armed[point].pop() if self.armed.get(point) else None
        if error is not None:
            raise error("as asked")

    def at(self, point: str, name: str) -> None:
        """Hang or raise in the code of a site."""
        if name == NEIGHBOUR:
            return
        if (point, name) in self.hangs:
            me = threading.current_thread()
            self.hangs.discard((point, name))
            go_on = self.go_on
            self._hanging[me] = point, name, go_on
            go_on.wait()
            del self._hanging[me]
        self.passes(point)

    def hanging(self) -> dict[threading.Thread, tuple[str, str]]:
        """Return the threads that hang until they are let go: at which point, for which site."""
        found = tuple(self._hanging.items())
        return {
            thread: (point, name) for thread, (point, name, go_on) in found if not go_on.is_set()
        }

    def imported(self, name: str) -> int:
        with self._lock:
            self._imports += 1
            self.alive[self._imports] = threading.current_thread()
            return self._imports

    def unloaded(self, name: str, number: int) -> None:
        if threading.current_thread() is self._loop_thread:
            self.wrong.append(f"{name} was unloaded on the event loop")
        if number not in self.alive:
            self.wrong.append(f"{name} was unloaded twice")
        self.alive[number] = threading.current_thread()
        try:
            self.at("exit", name)
        finally:
            del self.alive[number]

    def answer(self, name: str, environ: Environ, start_response: StartResponse) -> list[bytes]:
        self.at("answer", name)
        start_response("200 OK", [])
        return [name.encode()]

    def let_go(self) -> None:
        before, self.go_on = self.go_on, threading.Event()
        before.set()


class Claims:
    """Those who have to know of each load, as the cluster has them. It implements `Loads`."""

    def __init__(self, world: World) -> None:
        self.held = 0
        self._world = world

    @asynccontextmanager
    async def claim(self, config: SiteConfig, number: int, sources: object) -> AsyncIterator[Begin]:
        await asyncio.sleep(0)
        self._world.passes("claim")
        self.held += 1
        try:
            yield self._begin
        finally:
            self.held -= 1
            await asyncio.sleep(0)
            self._world.passes("unclaim")

    async def _begin(self) -> None:
        await asyncio.sleep(0)
        self._world.passes("begin")


class Faults(RuleBasedStateMachine):
    """Registry, reloads and backend, wired as the gateway does."""

    patience = 30.0
    """Seconds until what has to happen counts as not happening."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.top = Path(self.folder.name).resolve()
        for name in (*HOSTILE, NEIGHBOUR):
            (self.top / name).mkdir()
            (self.top / name / "app.py").write_text(dedent(CODE.format(name=name)))
        self.world = World(threading.current_thread())
        vars(json)["gateway_faults"] = self.world
        self.patch = pytest.MonkeyPatch()
        self.before = set(threading.enumerate())
        self.threads: list[Threads] = []
        self.sites: set[Site] = set()
        self.visits: list[asyncio.Task[Any]] = []
        self.asked: list[asyncio.Task[Any]] = []
        self.numbers: Counter[tuple[str, int]] = Counter()
        self._inject()
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._note)
        self.run(self._begin())

    def _inject(self) -> None:
        world, start = self.world, threading.Thread.start

        def start_thread(thread: threading.Thread) -> None:
            for kind in KINDS:
                if thread.name.endswith(kind):
                    world.passes(kind)
                    break
            start(thread)

        def make_threads(*args: Any, **kwargs: Any) -> Threads:
            world.passes("threads")
            made = Threads(*args, **kwargs)
            self.threads.append(made)
            return made

        def before(point: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                world.passes(point)
                return function(*args, **kwargs)

            return call

        def after(point: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                result = function(*args, **kwargs)
                world.passes(point)
                return result

            return call

        reporter = before("mask", Reporter)
        self.patch.setattr(threading.Thread, "start", start_thread)
        self.patch.setattr(inprocess, "Threads", make_threads)
        self.patch.setattr(inprocess, "Bridge", before("bridge", Bridge))
        self.patch.setattr(inprocess, "Namespace", before("namespace", Namespace))
        self.patch.setattr(inprocess, "Reporter", reporter)
        self.patch.setattr(Bridge, "close", after("close", Bridge.close))
        self.patch.setattr(Bridge, "in_flight", before("describe", Bridge.in_flight))
        self.patch.setattr(Namespace, "close", after("leave", Namespace.close))
        self.patch.setattr(site_module, "told", before("mask", site_module.told))

    async def _begin(self) -> None:
        self.backend = InProcessBackend(THREADS)
        await self.backend.__aenter__()
        self.file = self.config(HOSTILE)
        self.claims = Claims(self.world)
        self.registry = Registry(self.file, self.backend, retry=1e-9, loads=self.claims)
        self.registry.events.subscribe(self._hear)
        self.reloads = Reloads(self.registry, lambda _: self.file)

    def config(self, hostile: Any) -> Config:
        sites = {
            name: SiteConfig(
                name,
                (f"{name}.example",),
                self.top / name,
                "app:application",
                {},
                limits=LIMITS if name in hostile else Limits(),
            )
            for name in (*HOSTILE, NEIGHBOUR)
            if name in hostile or name == NEIGHBOUR
        }
        path = self.top / "sites.json"
        return Config(sites, None, path, frozenset({path}), b"{}")

    def _hear(self, event: Happening) -> None:
        if isinstance(event, Loaded):
            self.numbers[event.site, event.generation] += 1
        self.world.passes("subscriber")

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.world.wrong.append(f"{context['message']}: {context.get('exception')!r}")

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    # The faults

    @rule(chosen=lists(faults, min_size=2, max_size=6))
    def it_raises(self, chosen: list[tuple[str, type[BaseException]]]) -> None:
        for point, error in chosen:
            self.world.armed.setdefault(point, []).append(error)

    @rule(points=sets(tuples(sampled_from(["import", "exit", "answer"]), names), min_size=1))
    def it_hangs(self, points: set[tuple[str, str]]) -> None:
        self.world.hangs |= points

    @rule(settles=booleans())
    def what_hangs_goes_on(self, settles: bool) -> None:
        self.world.let_go()
        if settles:
            self.settle()

    @rule(seconds=sampled_from([0.003, 0.006, 0.012, 1.2 * LATE]))
    def the_loop_is_held(self, seconds: float) -> None:
        self.run(asyncio.sleep(0))
        time.sleep(seconds)
        self.settle()

    @rule(name=names)
    def an_attempt_is_cancelled(self, name: str) -> None:
        site = self.registry.sites.get(name)
        if isinstance(site, Site) and site._attempt is not None:
            self.loop.call_soon(site._attempt.cancel)
        self.settle()

    # What visitors, developers and operators do

    @rule(name=names, hangs=booleans(), settles=booleans())
    def visit(self, name: str, hangs: bool, settles: bool) -> None:
        if hangs:
            self.world.hangs.add(("answer", name))
        if (site := self.registry.find(f"{name}.example")) is not None:
            self.visits.append(self.loop.create_task(self._ask(site)))
        self.turn(settles)

    async def _ask(self, app: Any) -> int:
        return (await Client().ask(app)).status

    @rule(wanted=sets(names), settles=booleans())
    def reload(self, wanted: set[str], settles: bool) -> None:
        self.asked.append(self.loop.create_task(self.reloads.reload(wanted, OPERATOR)))
        self.turn(settles)

    @rule(left=sets(names), settles=booleans())
    def edit_the_file(self, left: set[str], settles: bool) -> None:
        self.file = self.config(left)
        self.asked.append(self.loop.create_task(self.reloads.refresh(OPERATOR)))
        self.turn(settles)

    @rule(name=names, settles=booleans())
    def leave_and_return(self, name: str, settles: bool) -> None:
        async def both() -> None:
            self._look()
            self.registry.adopt(self.config(set(HOSTILE) - {name}), OPERATOR)
            self.registry.adopt(self.file, OPERATOR)

        self.run(both())
        self.turn(settles)

    @rule(name=names)
    def unload_if_idle(self, name: str) -> None:
        async def unload() -> None:
            if isinstance(site := self.registry.sites.get(name), Site):
                site.unload_if_idle(IDLENESS)

        self.run(unload())
        self.settle()

    # What has to hold

    def turn(self, settles: bool) -> None:
        if settles:
            self.settle()
        else:
            self.run(asyncio.sleep(0))
            self._look()

    def settle(self) -> None:
        """Let everything happen that waits for nobody, and see whether it adds up."""
        self.run(self._settle())

    async def _settle(self) -> None:
        until = time.monotonic() + self.patience
        for _ in range(4):
            await asyncio.sleep(0)
        while faults := self._faults():
            assert time.monotonic() < until, faults
            await asyncio.sleep(0.001)
        assert not self.world.wrong, self.world.wrong

    def _look(self) -> None:
        self.sites.update(s for s in self.registry.sites.values() if isinstance(s, Site))

    def _faults(self) -> list[str]:
        self._look()
        world, backend = self.world, self.backend
        assert backend._traffic is not None
        hanging = world.hanging()
        hang = {name for _, name in hanging.values()}
        exits = sum(point == "exit" for point, _ in hanging.values())
        threads = {*threading.enumerate()} - self.before
        at_work = [thread for thread in threads if thread.name.endswith("loader")]
        attempts = [site for site in self.sites if site._attempt is not None]
        serving = sum(site._serving is not None for site in self.sites)
        alive = dict(world.alive)
        idle = sum(thread not in hanging for thread in alive.values())
        loads = _TURNS - backend._turns._value
        loaded = backend._unloading._loaded.total()
        pool, governor = backend._traffic.pool, backend._traffic.governor
        figures, places = pool.figures(), governor.places
        passages: list[Any] = governor.running()
        seats = [seat for each in self.threads for seat in each.generation._seats]
        left = [seat for seat in seats if seat.generation.closed]
        here = [each for each in self.threads if not each.generation.closed or each.seats]
        return [
            text
            for text, wrong in {
                f"{[str(site.state) for site in self.sites]}, {serving} serve": any(
                    (site.state is State.READY) is not (site._serving is not None)
                    or (site.state is State.LOADING and site._attempt is None)
                    for site in self.sites
                ),
                "an attempt has no end": any(s.config.name not in hang for s in attempts),
                "a retirement has no end": any(
                    site._retiring and site.config.name not in hang for site in self.sites
                ),
                f"{at_work} go on": any(thread not in hanging for thread in at_work),
                f"{idle} are up, and {serving} serve ({alive}, {hanging})": idle
                != serving + sum(1 for s in attempts if s.config.name in hang and self._probes(s)),
                f"{self.claims.held} claims": self.claims.held != len(attempts),
                f"{loads} turns, {backend._budget._coming} claims, {switch._holders} holds": not (
                    loads == backend._budget._coming == switch._holders <= len(attempts)
                ),
                f"{loaded} count as loaded": not serving <= loaded <= serving + len(attempts),
                f"{_under_way(backend)} unload": exits != _under_way(backend),
                f"{figures} with {len(seats)} seats": figures.seats != len(seats),
                f"{len(left)} seats of unloaded code": any(
                    seat.worker.thread not in hanging  # type: ignore[attr-defined]
                    for seat in left
                ),
                f"{self._folders()} folders are open for {len(here)}": self._folders() != len(here),
                f"{places} for {len(passages)}": places.running + places.aside != len(passages),
                f"{figures} for {len(passages)}": figures.threads - figures.idle
                != sum(passage.runs for passage in passages),
                f"{self.registry._leaving} leave": any(
                    site.config.name not in hang for site in self.registry._leaving
                ),
                f"{self.registry._generations} are remembered": len(self.registry._generations) > 1,
                f"{self.numbers} loaded": any(count > 1 for count in self.numbers.values()),
            }.items()
            if wrong
        ]

    def _probes(self, site: Site) -> bool:
        """Whether an attempt of a site has come to its probe, which hangs."""
        return any(
            task.get_name() == f"probe {site.config.name}" for task in asyncio.all_tasks(self.loop)
        )

    def _folders(self) -> int:
        """The number of descriptors of folders of sites."""
        found = 0
        for each in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # it has been closed since
                found += os.readlink(f"/proc/self/fd/{each}").startswith(str(self.top))
        return found

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.run(self._end())
        finally:
            self.world.armed.clear()
            self.world.hangs.clear()
            self.world.let_go()
            self.patch.undo()
            self.run(self._cancel())
            self.run(self.loop.shutdown_default_executor())
            self.loop.close()
            self.folder.cleanup()

    async def _cancel(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait({asyncio.ensure_future(asyncio.sleep(0.01)), *tasks}, timeout=1)
        self.backend._stack.close()

    async def _end(self) -> None:
        # The machine has mended; what hangs goes on to hang.
        self.world.armed.clear()
        self.world.hangs.clear()
        async with asyncio.timeout(self.patience):
            assert await self._ask(self.registry.sites[NEIGHBOUR]) == 200
        # The gateway stops amid all that hangs.
        self._look()
        await self.reloads.__aexit__()
        await self.registry.__aexit__()
        self.world.let_go()
        await self._settle()
        waiting = {*self.visits, *self.asked}
        if waiting:
            _, open_ = await asyncio.wait(waiting, timeout=self.patience)
            assert not open_, "somebody waits for ever"
            for task in waiting:
                task.cancelled() or task.exception()
            answers = [task.exception() for task in self.asked if not task.cancelled()]
            assert all(isinstance(each, UnknownSiteError | None) for each in answers), answers
        await self._settle()
        unloading = self.backend._unloading
        assert not self.world.alive, "code was not unloaded"
        assert not unloading._loaded and not _under_way(self.backend), "names are kept"
        assert all(not each.seats for each in self.threads), "seats are kept"
        assert all(site.state is State.CLOSED for site in self.sites)
        assert self._folders() == 0
        await self.backend.__aexit__(None, None, None)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, others


TestFaults = pytest.mark.timeout(3600 if STEPS else 120)(Faults.TestCase)
TestFaults.settings = settings(
    max_examples=max(20, STEPS // 50),
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
