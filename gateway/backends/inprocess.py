"""Runs generations in the gateway's own process, each in a namespace of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import os
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
)
from types import TracebackType
from typing import Any, Final, TypeVar

from a2wsgi.wsgi_typing import WSGIApp
from starlette.types import Receive, Scope, Send

from gateway import log
from gateway.backends.unloading import GRACE, LATE, Unload, Unloading
from gateway.config import SiteConfig
from gateway.django import connections, migrations, probes, templates, urls
from gateway.errors import GatewayError, LoadError, reason_of, told
from gateway.execution.audit import Finding
from gateway.execution.errands import on_daemon_thread
from gateway.execution.pool import Threads, stack_of
from gateway.execution.wsgi import Bridge, Traffic
from gateway.memory.budget import Budget
from gateway.memory.collector import PACE, Collector, Pace
from gateway.memory.switch import held
from gateway.namespace import (
    EnvironmentError_,
    Namespace,
    installed,
    private_cwd,
    slots,
    threadstate,
)
from gateway.namespace.survivors import Trace
from gateway.sites.events import A_REQUEST, Cause, Events, Survived
from gateway.sites.generation import Hung
from gateway.sites.loads import Begin, nothing_to_do
from gateway.sites.reporting import Reporter
from gateway.sites.sources import Sources, Tree

T = TypeVar("T")

_LOG: Final = "gateway.backends.inprocess"
_PATIENCE: Final = 5.0
"""Seconds that an unload waits for requests without a client and for other busy threads to end."""
_TURNS: Final = 4
"""The number of sites that load at the same time. Loading is Python code that holds the GIL, so
with more at a time each would only take longer, and with a hundred longer than its
``load_timeout``."""
_TURN: Final = 5.0
"""Seconds after which a load gives its turn to the next one and continues: a load that hangs must
not delay others."""
_UNCOLLECTED: Final = 10.0
"""Seconds of a load in which the garbage collector is off: one that hangs must not leave the
garbage of others in memory."""
_LOOK: Final = 0.1
"""Seconds between two looks at the threads of unloaded generations, which should end."""


class InProcessBackend:
    """Loads generations into namespaces of this process. It implements ``generation.Backend``.

    While it is entered (``async with``), the namespace hooks are installed and the threads of all
    sites exist. ``threads`` is the number of threads, and ``budget`` the memory, that all sites
    together may have. With ``keep_failed``, code that did not load is not unloaded, so that it can
    be examined. Generations that stay in memory are published in ``events``. A load that has taken
    ``turn`` seconds gives its turn to the next one, and goes on beside it. ``pace`` is the pace of
    the garbage collector, which is off for the first ``uncollected`` seconds of a load.
    """

    def __init__(
        self,
        threads: int,
        budget: Budget | None = None,
        *,
        keep_failed: bool = False,
        events: Events | None = None,
        turn: float = _TURN,
        uncollected: float = _UNCOLLECTED,
        pace: Pace = PACE,
    ) -> None:
        self._threads = threads
        self._budget = budget or Budget()
        self._keep_failed = keep_failed
        self._events = events or Events()
        self._seconds_of_turn = turn
        self._uncollected = uncollected
        self._pace = pace
        self._traffic: Traffic | None = None
        self._stack = contextlib.ExitStack()
        self._turns = asyncio.Semaphore(_TURNS)

    async def __aenter__(self) -> InProcessBackend:
        self._stack.enter_context(installed())
        traffic = self._traffic = self._stack.enter_context(Traffic(self._threads))
        self.collector = self._stack.enter_context(Collector(traffic.was_quiet, self._pace))
        loop = asyncio.get_running_loop()

        def publish(event: Survived) -> None:
            with contextlib.suppress(RuntimeError):  # the gateway has ended
                loop.call_soon_threadsafe(self._events.publish, event)

        self._unloading = Unloading(self.collector, publish)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._stack.close()

    async def load(
        self,
        config: SiteConfig,
        number: int,
        sources: Sources | None = None,
        cause: Cause = A_REQUEST,
        begin: Begin = nothing_to_do,
    ) -> InProcessCode:
        """Load the code of a site into a new namespace.

        Loads wait for their turn, and then for ``begin``. The names of the files that are read are
        added to ``sources``.
        Raises `LoadError` if the code does not load, or does not load in time, or if too many
        unloaded generations of the site are still in memory.
        """
        await self._refuse_one_too_many(config)
        async with self._budget.room(), self._turn():
            await begin()
            # Here and not on the loading thread, which may hang.
            with _for_a_while(held(staying=True), self._uncollected):
                return await self._load(config, number, sources, cause)

    def hung(self, site: str) -> list[Hung]:
        """See ``generation.Backend``."""
        return self._traffic.hangs.of(site) if self._traffic is not None else []

    def audit(self) -> Mapping[Hashable, Finding]:
        """See `Audit.look`; nothing before the backend is entered."""
        return self._traffic.audit.look() if self._traffic is not None else {}

    def survivors(self, site: str) -> list[str]:
        """Return what is left of unloaded generations of ``site``, a masked line for each."""
        return self._unloading.survivors(site)

    async def reclaim(self) -> None:
        """Give the memory of unloaded generations back to the system.

        The collection that does this waits for no idle moment, so it may slow down requests.
        """
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the gateway has ended
                loop.call_soon_threadsafe(done.set)

        self.collector.then(tell)
        self.collector.hurry()
        await done.wait()

    async def _refuse_one_too_many(self, config: SiteConfig) -> None:
        """Raise ``LoadError`` if a reload would leave one more generation in memory."""
        deadline = time.monotonic() + GRACE
        while (reason := self._unloading.refuses(config)) or self._unloading.undecided(config):
            if not self._unloading.serves(config.name):
                # Nothing serves: a site without an answer would be worse than one more generation.
                if reason:
                    Reporter(config.name, config.env).logger(_LOG).warning("%s", reason)
                return
            if time.monotonic() > deadline:
                if reason:
                    raise LoadError(reason)
                return
            await asyncio.sleep(_LOOK)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        await self._turns.acquire()
        turn = contextlib.ExitStack()
        turn.callback(self._turns.release)
        with _for_a_while(turn, self._seconds_of_turn):
            yield

    async def _load(
        self, config: SiteConfig, number: int, sources: Sources | None, cause: Cause
    ) -> InProcessCode:
        assert self._traffic is not None, "the backend has not been entered"
        traffic = self._traffic

        def build() -> InProcessCode:
            with slots.working_for(f"{slots.LOADING}{_name(config, number)}"):
                return _build(
                    config,
                    number,
                    sources,
                    cause,
                    traffic,
                    self._unloading,
                    keep_failed=self._keep_failed,
                )

        loaded: concurrent.futures.Future[InProcessCode] = concurrent.futures.Future()
        wanted: concurrent.futures.Future[bool] = concurrent.futures.Future()
        loaded.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        load = functools.partial(_load_and_hand_over, _for_code(build), loaded, wanted)
        thread, _ = on_daemon_thread(f"{config.name} loader", load)
        timeout = config.limits.load_timeout
        taken = False
        try:
            async with asyncio.timeout(timeout):
                code = await asyncio.wrap_future(loaded)
            taken = True
            return code
        except TimeoutError:
            reason = f"it did not load within {timeout:g} s"
            raise LoadError(reason, f"{reason}; it is here:\n\n{stack_of(thread.ident)}") from None
        finally:
            wanted.set_result(taken)


class InProcessCode:
    """The WSGI application of a site in its namespace. It implements ``generation.LoadedCode``."""

    def __init__(
        self,
        reporter: Reporter,
        number: int,
        cause: Cause,
        namespace: Namespace,
        threads: Threads,
        bridge: Bridge,
        unloading: Unloading,
    ) -> None:
        self.number = number
        self._cause = cause
        self._reporter = reporter
        self._namespace = namespace
        self._threads = threads
        self._bridge = bridge
        self._unloading = unloading
        unloading.loaded(reporter.site)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._bridge(scope, receive, send)

    def in_flight(self) -> list[str]:
        """Return what each running request is doing, as text that may hold secrets."""
        return self._bridge.in_flight()

    async def close(self, cause: Cause | None = None) -> None:
        """End the threads, run the site's ``atexit`` functions, close its connection pools.

        A thread of its own does this (`unload`), so that the event loop is not blocked. If the
        system gives none, this waits until it does.
        """
        self._cause = cause or self._cause
        try:
            self._bridge.close()
        finally:
            name, unload = f"{self._namespace.name} unloader", _for_code(self.unload)
            unloading = None
            while unloading is None:
                try:
                    thread, unloading = on_daemon_thread(name, unload)
                except (RuntimeError, MemoryError):  # "can't start new thread"
                    await asyncio.sleep(_LOOK)
            ended = asyncio.wrap_future(unloading)
            _, late = await asyncio.wait([ended], timeout=LATE)
            if late:
                self._reporter.logger(_LOG).error(
                    "the unload of generation %d has not ended after %.0f s; it is here:\n%s",
                    self.number,
                    LATE,
                    stack_of(thread.ident),
                )
            await ended

    def unload(self) -> None:
        """Do the work of `close` on the calling thread, which blocks meanwhile."""
        site = self._reporter.site
        self._unloading.ended(site)
        trace = Trace(self._namespace)
        late = False
        with self._unloading.unload(self._reporter, self.number, trace, self._cause) as unload:
            try:
                self._threads.shutdown(wait=False, cancel_futures=True)
                late = not self._threads.join(_PATIENCE)
                if late:
                    self._reporter.logger(_LOG).warning(
                        "%d requests of generation %d have not ended",
                        self._threads.seats,
                        self.number,
                    )
            finally:
                with slots.working_for(self._namespace.name):
                    _leave(self._namespace, self.number, self._reporter)
        if late:
            self._threads.when_empty(functools.partial(self._release_again, unload))

    def _release_again(self, unload: Unload) -> None:
        """Remove what requests have registered that ended after the unload."""
        with slots.working_for(self._namespace.name):
            _log_errors(self._namespace.release(), self.number, self._reporter)
        self._unloading.look_again(unload)


@contextlib.contextmanager
def _for_a_while(
    context: contextlib.AbstractContextManager[object], seconds: float
) -> Iterator[None]:
    """Leave ``context`` at the end of the block, or earlier, after so many ``seconds``."""
    with contextlib.ExitStack() as stack:  # what it has left once, it does not leave again
        stack.enter_context(context)
        end = asyncio.get_running_loop().call_later(seconds, stack.close)
        stack.callback(end.cancel)
        yield


def _name(config: SiteConfig, number: int) -> str:
    return f"{config.name} #{number}"


def _build(
    config: SiteConfig,
    number: int,
    sources: Sources | None,
    cause: Cause,
    traffic: Traffic,
    unloading: Unloading,
    *,
    keep_failed: bool,
) -> InProcessCode:
    """Load a site on the calling thread; raises `LoadError`, whatever its code raises."""
    reporter = Reporter(config.name, config.env)
    if sources is not None:
        sources.add(os.fspath(config.path))
    try:
        path = config.path.resolve(strict=True)
        own_folder = private_cwd(path)
        namespace = Namespace(
            _name(config, number),
            path=[path],
            environ=config.env,
            venv=config.venv,
            reading=None if sources is None else sources.add,
        )
    except (EnvironmentError_, OSError) as exc:
        words = told(exc)
        raise LoadError(words.reason.partition(": ")[2], words.traceback) from None
    except BaseException as exc:  # a .pth file and sitecustomize are code, too
        words = told(exc)
        raise LoadError(words.reason, words.traceback) from None
    try:
        application = _import_site(namespace, config, number, reporter)
        if sources is not None:
            sources.add_trees(templates.folders(namespace))
        _close_connections(namespace)
        threads = Threads(
            reporter,
            traffic.pool,
            name=namespace.name,
            folder=os.getcwd() if own_folder else path,  # the project may have changed its folder
            end=functools.partial(connections.close, namespace),
            end_of=functools.partial(connections.close_of, namespace),
            leave=functools.partial(connections.take, namespace),
            enter=functools.partial(connections.put, namespace),
        )
        try:
            bridge = Bridge(application, threads, traffic, config.limits)
            return InProcessCode(reporter, number, cause, namespace, threads, bridge, unloading)
        except BaseException:
            threads.shutdown(wait=False)
            raise
    except BaseException as exc:
        words = told(exc)
        try:
            if sources is not None:  # the remedy may be a module that does not exist yet
                sources.add_trees([Tree(os.fspath(path), frozenset({".py"}))])
        finally:
            # Django may import a backend for this, whose adapters are released with the rest.
            _close_connections(namespace)
            if not keep_failed:
                with unloading.unload(reporter, number, Trace(namespace), cause):
                    _leave(namespace, number, reporter)
        if isinstance(exc, LoadError):
            raise
        # sys.exit() at import is a failure of the site, and must not end the gateway.
        raise LoadError(words.reason, words.traceback) from None


def _for_code(function: Callable[[], T]) -> Callable[[], T]:
    """Prepare a thread to run code of a site by ``function``.

    What it raises becomes an error of the gateway, without the frames that it came from.
    """

    def run() -> T:
        threadstate.of_this_thread()  # so that the code's changes of it are noted
        try:
            return function()
        except BaseException as exc:
            error = exc if isinstance(exc, GatewayError) else told(exc)
        error.__cause__ = error.__context__ = None
        raise error.with_traceback(None)

    return run


def _load_and_hand_over(
    build: Callable[[], InProcessCode],
    loaded: concurrent.futures.Future[InProcessCode],
    wanted: concurrent.futures.Future[bool],
) -> None:
    """Load code, which belongs to the calling thread until it is taken: else it is unloaded here.

    A thread cannot be ended from outside, so the code may come when nobody waits for it any more.
    """
    try:
        code = build()
    except BaseException as error:
        loaded.set_exception(error)
        return
    loaded.set_result(code)
    if not wanted.result():
        code.unload()


def _import_site(
    namespace: Namespace, config: SiteConfig, number: int, reporter: Reporter
) -> WSGIApp:
    reporter.attend(namespace.import_module("warnings"), namespace.import_module("threading"))
    log.mark_records(namespace.import_module("logging"), config.name, number)
    application = _find_application(namespace, config.wsgi)
    urls.load(namespace)
    probes.attend(namespace)
    _check_migrations(namespace, config, reporter)
    for patched in namespace.confine_patches():
        reporter.logger(_LOG).info("replaces %s, for itself alone", patched)
    return application


def _close_connections(namespace: Namespace) -> None:
    """Close the connections of the loading thread, whatever that raises."""
    # This may be where Django first reads the settings, and they may be what failed the load.
    with contextlib.suppress(BaseException):
        connections.close(namespace)


def _leave(namespace: Namespace, number: int, reporter: Reporter) -> None:
    """Do for the namespace what the end of a process would do."""
    try:
        _log_errors(namespace.close(), number, reporter)
    finally:
        with contextlib.suppress(BaseException):
            connections.close_pools(namespace)


def _log_errors(errors: Iterable[BaseException], number: int, reporter: Reporter) -> None:
    for error in errors:
        reporter.logger(_LOG).warning(
            "an exit function of generation %d raised %s", number, reason_of(error)
        )


def _check_migrations(namespace: Namespace, config: SiteConfig, reporter: Reporter) -> None:
    if config.migrations == "ignore" or not (faults := migrations.faults(namespace)):
        return
    reason = "; ".join(faults)
    if config.migrations == "require":
        raise LoadError(f"{reason}; run manage.py migrate, or set migrations to warn")
    reporter.logger(_LOG).warning("%s; run manage.py migrate", reason)


def _find_application(namespace: Namespace, wsgi: str) -> WSGIApp:
    module_name, _, attribute = wsgi.partition(":")
    application: Any = namespace.import_module(module_name)
    for part in attribute.split("."):
        application = getattr(application, part)
    if not callable(application):
        raise TypeError(f"{wsgi} is not callable: it is no WSGI application")
    return application  # type: ignore[no-any-return]
