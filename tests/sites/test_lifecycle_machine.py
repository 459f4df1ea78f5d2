"""Random sequences of what can happen to sites, and what has to hold after each step."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import sampled_from, sets
from starlette.types import Message, Receive, Scope, Send

from gateway.config import Config, SiteConfig
from gateway.config.limits import Limits
from gateway.errors import LoadError
from gateway.sites.events import IDLENESS, Cause, Happening, Swapped
from gateway.sites.gate import Mode
from gateway.sites.generation import Hung
from gateway.sites.registry import Registry
from gateway.sites.reloads import Reloads
from gateway.sites.site import Site
from gateway.sites.state import State

OPERATOR: Final = Cause("mode", "operator")
NAMES: Final = ("one", "two", "three")
LIMITS: Final = Limits(probe_timeout=3600, drain_timeout=3600, pause_timeout=3600)
"""Nothing here waits for a clock: what does not end by itself ends when a rule says so."""

names = sampled_from(NAMES)


class Code:
    """A generation that checks how it is used."""

    def __init__(self, world: World, name: str, number: int, bad_page: bool) -> None:
        self.name = name
        self.number = number
        self.running = 0
        self.closed = False
        self._world = world
        self.bad_page = bad_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert not self.closed, "unloaded code was used"
        self.running += 1
        try:
            status = 500 if self.bad_page and scope["path"] == "/" else 200
            await send({"type": "http.response.start", "status": status, "headers": []})
            if scope["path"] == "/stream":
                await self._world.stream_ends.wait()
            await send({"type": "http.response.body", "body": str(self.number).encode()})
        finally:
            self.running -= 1

    def in_flight(self) -> list[str]:
        return []

    async def close(self, cause: Cause) -> None:
        # Not asserted here, on a task whose end nobody looks at.
        if self.closed or self.running:
            self._world.faults.append(f"{self.name} {self.number} unloaded twice or while in use")
        self.closed = True


class World:
    """The backend, the file and the visitors."""

    def __init__(self) -> None:
        self.codes: dict[str, list[Code]] = defaultdict(list)
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self.faults: list[str] = []
        self.fails: set[str] = set()
        self.bad_pages: set[str] = set()
        self.held: dict[str, asyncio.Event] = {}
        self.stream_ends = asyncio.Event()
        self.file = self.config(NAMES)

    @staticmethod
    def config(names: Any, edition: str = "") -> Config:
        sites = {
            name: SiteConfig(
                name,
                (f"{name}.example",),
                Path("/nowhere") / name,
                "core.wsgi:application",
                {"EDITION": edition},
                limits=LIMITS,
            )
            for name in NAMES
            if name in names
        }
        path = Path("/nowhere/sites.json")
        return Config(sites, None, path, frozenset({path}), b"{}")

    def hung(self, site: str) -> list[Hung]:
        return []

    def survivors(self, site: str) -> list[str]:
        return []

    async def load(
        self, config: SiteConfig, number: int, sources: object, cause: Cause, begin: object
    ) -> Code:
        name = config.name
        self.numbers[name].append(number)
        if name in self.held:
            await self.held[name].wait()
        if name in self.fails:
            raise LoadError("as asked")
        code = Code(self, name, number, name in self.bad_pages)
        self.codes[name].append(code)
        return code

    def look(self, event: Happening) -> None:
        """Note it if code with a bad page takes the place of code with a good one."""
        if isinstance(event, Swapped):
            bad = {code.number: code.bad_page for code in self.codes[event.site]}
            if bad[event.generation] and not bad[event.replaced]:
                self.faults.append(f"{event.site} {event.generation} took over with a bad page")


class Visit:
    """A request that was let in, or waits, or was refused."""

    def __init__(self, site: Any, path: str, spawn: Callable[..., asyncio.Task[Any]]) -> None:
        self.status = 0
        self.complete = False
        self._asked = False
        scope: Scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        self.task = spawn(site(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        if self._asked:
            await asyncio.Event().wait()  # nobody leaves
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.complete = not message.get("more_body", False)


class Lifecycle(RuleBasedStateMachine):
    """Site and registry against their invariants."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        # Of one thread, so that what `settle` asks of it comes after the reading of a file.
        self.loop.set_default_executor(ThreadPoolExecutor(1))
        self.visits: list[Visit] = []
        self.asked: list[asyncio.Task[Any]] = []
        self.run(self._open())

    async def _open(self) -> None:
        self.world = World()
        self.registry = Registry(self.world.file, self.world, retry=1e-9)
        self.registry.events.subscribe(self.world.look)
        self.reloads = Reloads(self.registry, lambda _: self.world.file)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def settle(self) -> None:
        """Let everything happen that waits for nobody; reading the file takes a thread."""

        async def turn() -> None:
            for _ in range(3):  # a reload may wait for another, and a third for that
                for _ in range(30):
                    await asyncio.sleep(0)
                await asyncio.to_thread(int)
            for _ in range(30):
                await asyncio.sleep(0)

        self.run(turn())

    def site(self, name: str) -> Site | None:
        site = self.registry.find(f"{name}.example")
        assert site is None or isinstance(site, Site)
        return site

    # What visitors do

    @rule(name=names, path=sampled_from(["/", "/page", "/stream"]))
    def visit(self, name: str, path: str) -> None:
        site = self.site(name)
        if site is None:
            return
        serves = site.state is State.READY and site.gate.mode is Mode.OPEN
        visit = Visit(site, path, self.loop.create_task)
        self.visits.append(visit)
        self.settle()
        if serves:
            assert visit.status in {200, 500}, "it had to wait although code serves"
            assert visit.complete or path == "/stream"

    @rule()
    def streams_end(self) -> None:
        self.world.stream_ends.set()
        self.settle()
        self.world.stream_ends = asyncio.Event()
        assert all(visit.complete or not visit.status for visit in self.visits)

    # What developers do

    @rule(name=names)
    def break_code(self, name: str) -> None:
        self.world.fails.add(name)

    @rule(name=names)
    def break_page(self, name: str) -> None:
        self.world.bad_pages.add(name)

    @rule(name=names)
    def repair(self, name: str) -> None:
        self.world.fails.discard(name)
        self.world.bad_pages.discard(name)

    @rule(name=names)
    def loads_hang(self, name: str) -> None:
        self.world.held.setdefault(name, asyncio.Event())

    @rule(name=names)
    def loads_go_on(self, name: str) -> None:
        if held := self.world.held.pop(name, None):
            held.set()
        self.settle()

    # What operators do

    @rule(wanted=sets(names, max_size=2))
    def reload(self, wanted: set[str]) -> None:
        self.asked.append(self.loop.create_task(self.reloads.reload(wanted)))
        self.settle()

    @rule(left=sets(names), edition=sampled_from(["", "a", "b"]))
    def edit_the_file(self, left: set[str], edition: str) -> None:
        self.world.file = self.world.config(left, edition)
        self.asked.append(self.loop.create_task(self.reloads.refresh()))
        self.settle()

    @rule(name=names, mode=sampled_from(Mode))
    def set_mode(self, name: str, mode: Mode) -> None:
        if self.site(name) is not None:
            self.registry.set_modes({name: mode}, OPERATOR)
            self.settle()

    @rule(name=names)
    def unload_if_idle(self, name: str) -> None:
        if (site := self.site(name)) is not None:
            in_flight = site.status().generation and site.idle_since is None

            async def unload() -> bool:
                return site.unload_if_idle(IDLENESS) is not None

            assert not (self.run(unload()) and in_flight), "unloaded while in use"
            self.settle()

    @precondition(lambda self: self.asked)
    @rule()
    def reloads_end_unless_something_hangs(self) -> None:
        if not self.world.held:
            _, unfinished = self.run(asyncio.wait(self.asked, timeout=10))
            assert not unfinished

    # What has to hold

    @invariant()
    def one_generation_serves(self) -> None:
        for name in NAMES:
            if (site := self.site(name)) is None:
                continue
            alive = [code.number for code in self.world.codes[name] if not code.closed]
            current = site.status().generation
            assert (site.state is State.READY) is bool(current)
            assert not current or current in alive
            # Others are alive only because of requests that they took, or to be probed.
            busy = [code for code in self.world.codes[name] if not code.closed and code.running]
            assert len(alive) <= len(busy) + 1

    @invariant()
    def what_is_kept_of_many_sites_is_right(self) -> None:
        status = self.registry.status()
        assert self.registry.degraded is bool(
            status.faults or any(site.failure for site in status.sites)
        )
        warm = {site.name: site for site in status.sites if site.state is not State.COLD}
        assert self.registry.warm == warm.keys()
        assert {site.name: site for site in self.registry.status(cold=False).sites} == warm

    @invariant()
    def nothing_is_unloaded_in_use(self) -> None:
        assert not self.world.faults

    @invariant()
    def no_number_is_used_twice(self) -> None:
        for numbers in self.world.numbers.values():
            assert len(numbers) == len(set(numbers))

    @invariant()
    def nothing_fails_but_for_a_reason(self) -> None:
        for name in NAMES:
            if (site := self.site(name)) is not None and site.failure is not None:
                assert site.failure.reason == "as asked" or "probe" in site.failure.reason

    @invariant()
    def counts_are_right(self) -> None:
        for name in NAMES:
            if (site := self.site(name)) is not None:
                assert site.in_flight >= 0
                assert site.gate.waiting >= 0

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        for held in self.world.held.values():
            held.set()
        self.world.held.clear()
        for name in NAMES:
            if self.site(name) is not None:
                self.registry.set_modes({name: Mode.OPEN}, OPERATOR)
        self.settle()
        self.world.stream_ends.set()
        self.run(asyncio.wait_for(self._end(), 3))
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()

    async def _end(self) -> None:
        for visit in self.visits:
            await visit.task
            assert visit.status and visit.complete, "a request that was let in did not end"
        results = await asyncio.gather(*self.asked, return_exceptions=True)
        unexpected = [
            r for r in results if isinstance(r, Exception) and "has no site" not in str(r)
        ]
        assert not unexpected
        async with self.registry, self.reloads:
            pass
        assert not self.world.faults
        assert all(code.closed for codes in self.world.codes.values() for code in codes)


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
