"""One site: its state, the generation that serves, those that retire, and its last failure.

A `Site` is used on the thread of the event loop only. Whatever it does between two ``await`` is
therefore atomic. A comment marks each place where an invariant depends on that.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import log
from gateway.config import FaultySite, SiteConfig
from gateway.errors import FolderError, LoadError, class_name, told
from gateway.front import pages
from gateway.sites.events import (
    A_REQUEST,
    Cause,
    Events,
    Failed,
    Idled,
    Loaded,
    Loading,
    SiteEvent,
    Swapped,
    Unloaded,
)
from gateway.sites.gate import Client, Gate, Mode, own_page
from gateway.sites.generation import Backend, Generation, Hung
from gateway.sites.loads import FreeLoads, Loads
from gateway.sites.probe import try_out
from gateway.sites.reporting import Reporter
from gateway.sites.sources import Sources
from gateway.sites.state import Event, State, advance

RETRY_CAP: Final = 60.0
"""The longest back-off between two attempts of a failed site, in seconds."""
LOAD_WAIT: Final = 30.0
"""Seconds that a visitor waits for a load. The load goes on afterwards; but one that hangs must not
keep connections open for ever, because the server would wait for them when it stops."""
MAINTENANCE_RETRY: Final = 60.0
"""Seconds after which visitors of a site in maintenance are told to come again."""
CLOSE_TIMEOUT: Final = 10.0
"""Seconds that closing a site waits for generations to unload once they are drained."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a generation did not come up; all texts are masked already."""

    error_id: str
    reason: str
    traceback: str


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """A site at one moment, for operators.

    ``generation`` is the number of the one that serves, 0 if none does. ``loaded_at`` (UTC in
    ISO 8601), ``load_ms`` (milliseconds) and ``warning`` (why it did not pass its probe) are of the
    last generation that came up. A ``failure`` beside the state ``ready`` means that a reload
    failed and the old code goes on.
    """

    name: str
    state: State
    generation: int
    hosts: tuple[str, ...]
    mode: Mode = Mode.OPEN
    aside: str | None = None
    """Why the gateway has set it aside, if it has."""
    loaded_at: str | None = None
    load_ms: float | None = None
    failure: Failure | None = None
    warning: str | None = None
    survivors: tuple[str, ...] = ()
    """What is left in memory of its unloaded generations, and what holds it."""
    hung: tuple[Hung, ...] = ()
    """Requests that hang in its code."""


class Site:
    """One site of the gateway, an ASGI application.

    After a failed attempt, a request may start another one when ``retry`` seconds have passed; the
    time doubles with each failure. A request waits at most ``load_wait`` seconds for a load.
    ``generations`` is the number of generations that an earlier site of this name had: each attempt
    makes one, and no number is used twice. ``loads`` are asked before code is loaded. What happens
    is published in ``events``. ``changed`` is called whenever ``state`` or ``failure`` may have
    changed.
    """

    def __init__(
        self,
        config: SiteConfig,
        backend: Backend,
        *,
        retry: float = 5.0,
        generations: int = 0,
        mode: Mode = Mode.OPEN,
        clock: Callable[[], float] = time.monotonic,
        load_wait: float = LOAD_WAIT,
        loads: Loads | None = None,
        events: Events | None = None,
        changed: Callable[[Site], None] = lambda _: None,
    ) -> None:
        self.config = config
        self.state = State.COLD
        self.generations = generations
        self.failure: Failure | None = None
        self.gate = Gate(mode)
        self.sources = Sources()
        self.reporter = Reporter(config.name, config.env)
        """The reporter of the last attempt."""
        self._backend = backend
        self._loads = loads or FreeLoads()
        self._clock = clock
        self._events = events or Events()
        self._changed = changed
        self._load_wait = load_wait
        self._retry = retry
        self._delay = retry
        self._retry_at = 0.0
        self._loaded_at: str | None = None
        self._load_ms: float | None = None
        self._warning: str | None = None
        self._serving: Generation | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._next_attempt: asyncio.Task[None] | None = None
        self._retiring: dict[Generation, asyncio.Task[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request, loading the site first if nothing is loaded."""
        if not self.gate.wide_open:
            client = Client(receive)
            if (page := await self._held_up(client)) is not None:
                await page(scope, receive, send)
            if page is not None or client.gone:
                return
            receive = client.receive
        if self._serving is None and (attempt := self._attempt or self._due_attempt()):
            # This neither cancels the attempt when the client leaves, nor raises its exception.
            await asyncio.wait({attempt}, timeout=self._load_wait)
        # There is no await between here and the count in __enter__: a generation that is swapped
        # out has either counted this request already or will never see it.
        generation = self._serving
        if generation is None:
            await self._unavailable()(scope, receive, send)
            return
        log.served_by.set((self.config.name, generation.number))
        started = False

        def watched_send(message: Message) -> Awaitable[None]:
            nonlocal started
            started = True
            return send(message)

        with generation:
            try:
                await generation.code(scope, receive, watched_send)
            except (Exception, SystemExit) as error:
                page = _broken(generation, scope, error)
                # Nothing true can be added to a response that has begun. The server sees that it is
                # incomplete and cuts the connection, so that the client knows, too.
                if not started:
                    await page(scope, receive, send)

    async def load(self, cause: Cause = A_REQUEST) -> None:
        """Load the site, unless a generation serves already.

        An attempt that is under way is joined, and a site that is set aside is left alone; one that
        is closed stays so. Nothing is raised: `failure` has the error.
        """
        if self.state is State.CLOSED or self.gate.aside is not None:
            return
        if self._serving is None:
            await asyncio.wait({self._attempt or self._begin(cause)})

    async def reload(self, cause: Cause = A_REQUEST) -> None:
        """Load a new generation from the code on disk, and let it take over.

        The old one serves until then, and goes on serving if the new one does not come up
        (`failure` says why). An attempt that is under way is waited for but not joined, because it
        may have read code that has changed since. Reloads that arrive meanwhile share the next one.
        """
        if self.state is State.CLOSED:
            return
        if self._attempt is None:
            await asyncio.wait({self._begin(cause)})
            return
        if self._next_attempt is None:
            self._next_attempt = asyncio.get_running_loop().create_task(
                self._reload_after_this(cause), name=f"reload {self.config.name}"
            )
        await asyncio.wait({self._next_attempt})

    @property
    def idle_since(self) -> float | None:
        """The moment when its code became idle; ``None`` while a request runs, and without code."""
        generation = self._serving
        return generation.used_at if generation is not None and not generation.in_flight else None

    def unload_if_idle(self, cause: Cause) -> asyncio.Task[None] | None:
        """Unload until the next request, unless the code is needed; return the unloading, or none.

        The code is needed while a request is in flight or waits, and while an attempt is under way.
        It also stays after a reload that failed, because the next load would read the code that is
        wrong.
        """
        busy = self._attempt or self._next_attempt or self.gate.waiting or self.failure
        if self.idle_since is None or busy:
            return None
        assert self._serving is not None
        self._advance(Event.UNLOAD, None)
        generation, self._serving = self._serving, None
        self._events.publish(Idled(self.config.name, generation.number, cause))
        return self._retire(generation, cause)

    async def close(self, cause: Cause, drain: float | None = None) -> None:
        """Stop for good: cancel the attempt, wait up to ``drain`` seconds for requests, and unload.

        The default is the ``drain_timeout`` of the site. A second call with a shorter time shortens
        the wait of the first. ``cause`` is why the site is closed.
        """
        drain = self.config.limits.drain_timeout if drain is None else drain
        self._advance(Event.CLOSE, self.failure)
        self.gate.set_aside(None)
        self.gate.set(Mode.OPEN)  # those who wait there get the answer that it is closed
        if self._serving is not None:
            self._retire(self._serving, cause)
            self._serving = None
        if self._attempt is not None:
            self._attempt.cancel()
            # It may have new code that has to be unloaded as well.
            await asyncio.wait({self._attempt}, timeout=CLOSE_TIMEOUT)
        if not self._retiring:
            return
        patience = asyncio.get_running_loop().call_later(drain, self._give_up)
        try:
            await asyncio.wait(self._retiring.values(), timeout=drain + CLOSE_TIMEOUT)
        finally:
            patience.cancel()

    def status(self) -> SiteStatus:
        """Describe the site as it is now."""
        return SiteStatus(
            name=self.config.name,
            state=self.state,
            generation=self._serving.number if self._serving else 0,
            hosts=self.config.hosts,
            mode=self.gate.mode,
            aside=self.gate.aside,
            loaded_at=self._loaded_at,
            load_ms=self._load_ms,
            failure=self.failure,
            warning=self._warning,
            survivors=tuple(self._backend.survivors(self.config.name)),
            hung=tuple(self._backend.hung(self.config.name)),
        )

    @property
    def in_flight(self) -> int:
        """The number of requests that run, in replaced generations as well."""
        generations = [*self._retiring, self._serving] if self._serving else [*self._retiring]
        return sum(generation.in_flight for generation in generations)

    # The gate

    async def _held_up(self, client: Client) -> ASGIApp | None:
        """Wait at the gate; return the page for a client that is not let in, else ``None``."""
        limits = self.config.limits
        while self.gate.mode is Mode.PAUSED and self.gate.aside is None:
            if self.gate.waiting >= limits.queue_length:
                return pages.busy(limits.pause_timeout)
            if not await self.gate.changed(client, limits.pause_timeout):
                return None if client.gone else pages.paused(limits.pause_timeout)
        if self.gate.aside is not None:
            return pages.set_aside(retry_after=MAINTENANCE_RETRY)
        if self.gate.mode is Mode.MAINTENANCE:
            own = await asyncio.to_thread(own_page, self.config.path)
            return pages.maintenance(own, retry_after=MAINTENANCE_RETRY)
        return None

    # Attempts

    async def _reload_after_this(self, cause: Cause) -> None:
        while self._attempt is not None:
            await asyncio.wait({self._attempt})
        self._next_attempt = None
        if self.state is not State.CLOSED:
            await asyncio.wait({self._begin(cause)})

    def _due_attempt(self) -> asyncio.Task[None] | None:
        """Begin an attempt if a request may do so now, and return it."""
        due = self.state is State.FAILED and self._clock() >= self._retry_at
        return self._begin(A_REQUEST) if due or self.state is State.COLD else None

    def _begin(self, cause: Cause) -> asyncio.Task[None]:
        assert self._attempt is None, "a site has one attempt at a time"
        if self._serving is None:
            self._advance(Event.LOAD, self.failure)
        # Not in the task: a site may leave before that begins, and its successor goes on from here.
        self.generations += 1
        # With an empty context, because the code must not keep the context of the request.
        self._attempt = asyncio.get_running_loop().create_task(
            self._try_load(self.generations, cause),
            name=f"load {self.config.name}",
            context=contextvars.Context(),
        )
        # Before all who wait for it; and also if it is cancelled before its first step.
        self._attempt.add_done_callback(self._end_attempt)
        return self._attempt

    def _end_attempt(self, _: asyncio.Task[None]) -> None:
        self._attempt = None

    async def _try_load(self, number: int, cause: Cause) -> None:
        started = self._clock()
        config = self.config  # the entry may change before the attempt ends
        reporter = self.reporter = Reporter(config.name, config.env)
        sources = Sources()
        outcomes: list[SiteEvent]
        new: Generation | None = None
        try:
            self._events.publish(Loading(config.name, number, cause))
            watched = sources if config.watch else None
            async with self._loads.claim(config, number, watched) as begin:
                started = self._clock()
                code = await self._backend.load(config, number, watched, cause, begin)
                new = Generation(code, reporter, self._clock)
                # Without old code, the request that waits is the probe.
                old = self._serving
                warning = None if old is None else await try_out(new, old, config)
            replaced = self._take_over(new, cause)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if new is not None:
                self._retire(new, cause)
            if self.state is State.CLOSED:
                return
            reason = self._failed(error, number, reporter).reason
            self.sources.take(sources)
            outcomes = [Failed(config.name, number, cause, self._clock() - started, reason)]
        else:
            seconds = self._clock() - started
            self._loaded_at = log.timestamp(time.time())
            self._load_ms = round(seconds * 1000, 1)
            self._warning = warning
            self.sources = sources
            outcomes = [Loaded(config.name, number, cause, seconds, warning)]
            if replaced:
                outcomes.append(Swapped(config.name, number, cause, replaced))
            new.log.info("generation %d loaded in %.0f ms", number, self._load_ms)
        for outcome in outcomes:
            self._events.publish(outcome)

    def _take_over(self, new: Generation, cause: Cause) -> int:
        """Let a generation serve; return the number of the one that it replaces, 0 for none."""
        self._advance(Event.LOADED, None)
        old, self._serving = self._serving, new
        self._delay = self._retry
        if old is not None:
            self._retire(old, cause)
        return old.number if old is not None else 0

    def _failed(self, error: BaseException, number: int, reporter: Reporter) -> Failure:
        what = error.what if isinstance(error, LoadError) else LoadError.what
        failure = Failure(_error_id(), class_name(error), "")
        with contextlib.suppress(Exception):  # telling it may fail as well: without memory, for one
            words = told(error)
            reason, text = reporter.mask(words.reason), reporter.mask(words.traceback)
            failure = replace(failure, reason=reason, traceback=text)
        self._advance(Event.FAILED, failure)
        self._retry_at = self._clock() + self._delay
        self._delay = min(self._delay * 2, max(RETRY_CAP, self._retry))
        reporter.logger("gateway.site").error(
            "generation %d %s (error %s): %s%s%s",
            number,
            what,
            failure.error_id,
            failure.reason,
            "; the old code goes on serving" if self._serving else "",
            f"\n{failure.traceback}" if failure.traceback else "",
        )
        return failure

    # Requests

    def _unavailable(self) -> ASGIApp:
        if self.failure is None:
            return pages.unavailable()
        wait = self._retry_at - self._clock()
        return pages.unavailable(self.failure.error_id, retry_after=wait)

    # Retirement

    def _retire(self, generation: Generation, cause: Cause) -> asyncio.Task[None]:
        task = asyncio.create_task(
            generation.retire(self.config.limits.drain_timeout, cause),
            name=f"retire {self.config.name}",
        )
        self._retiring[generation] = task
        task.add_done_callback(lambda task: self._retired(generation, task, cause))
        return task

    def _retired(self, generation: Generation, task: asyncio.Task[None], cause: Cause) -> None:
        self._retiring.pop(generation)
        if not task.cancelled() and (error := task.exception()) is not None:
            generation.log.error(
                "generation %d was not unloaded to its end", generation.number, exc_info=error
            )
        self._events.publish(Unloaded(self.config.name, generation.number, cause))

    def _give_up(self) -> None:
        for generation in self._retiring:
            generation.give_up()

    def _advance(self, event: Event, failure: Failure | None) -> None:
        self.state, self.failure = advance(self.state, event), failure
        self._changed(self)


class UnusableSite:
    """A site whose entry in ``sites.json`` is wrong. It answers 503 until the file is corrected.

    Only the start of the gateway makes such sites: a reload does not take over a wrong entry.
    """

    state: Final = State.FAILED
    generations: Final = 0

    def __init__(self, config: FaultySite) -> None:
        self.config = config
        faults = [str(fault) for fault in config.faults]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        self.failure = Failure(_error_id(), f"sites.json: {faults[0]}{more}", "\n".join(faults))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the error page."""
        await pages.unavailable(self.failure.error_id, retry_after=RETRY_CAP)(scope, receive, send)

    def status(self) -> SiteStatus:
        """Describe the site: always ``failed``, with the faults as its traceback."""
        return SiteStatus(self.config.name, self.state, 0, self.config.hosts, failure=self.failure)


def _error_id() -> str:
    """Return an id that a visitor can quote and an operator can find in the log."""
    return secrets.token_hex(4)


def _broken(generation: Generation, scope: Scope, error: BaseException) -> ASGIApp:
    """Log that a request failed; return the page that says so."""
    error_id = _error_id()
    known = isinstance(error, FolderError)  # where that is raised is of no interest
    generation.log.error(
        "%s %r failed in generation %d (error %s)%s",
        scope["method"],
        scope["path"],
        generation.number,
        error_id,
        f": {error}" if known else "",
        exc_info=None if known else error,
    )
    return pages.broken(error_id)
