"""The application: the one place that wires the parts and orders the middleware."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from textwrap import indent
from typing import Final, NamedTuple

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import log
from gateway.admin import endpoints
from gateway.admin.auth import Authority
from gateway.admin.token import obtain_token
from gateway.admin.token_watch import TokenWatch
from gateway.backends.inprocess import InProcessBackend
from gateway.cluster import Control, Evidence, Files, History, Identity, Loads
from gateway.cluster.sightings import Sightings
from gateway.cluster.store.sqlite import SqliteStore, store_path
from gateway.cluster.store.thread import StoreThread
from gateway.config import ADMIN_HOSTS
from gateway.config.file import SitesFile
from gateway.disk.statefolder import StateFolder, evidence_prefix
from gateway.errors import ConfigError, GatewayError, UnknownSiteError
from gateway.front import head, pages, proxies, server
from gateway.front.head import HeadLimits, RefusedError
from gateway.front.proxies import Proxies
from gateway.memory import figures
from gateway.memory.budget import Budget
from gateway.settings import Settings, SettingsError
from gateway.sites.events import Events
from gateway.sites.gate import ModeError
from gateway.sites.registry import Registry
from gateway.sites.reloads import Reloads
from gateway.upkeep.code_watch import CodeWatch
from gateway.upkeep.file_watch import Watch
from gateway.upkeep.idle import IdleSites
from gateway.upkeep.selfwatch import SelfWatch

START_FAILED: Final = "lifespan.startup.failed"


class Front(NamedTuple):
    """The parts that are asked for each request."""

    limits: HeadLimits
    proxies: Proxies
    admin_hosts: frozenset[str]
    registry: Registry


class Gateway(Starlette):
    """The application. It brings each request to its site, by its host.

    The order of decisions is made here and nowhere else: a head that is refused, the headers of a
    trusted proxy, the admin hosts, the sites, and bare liveness on hosts that no site serves. So
    the gateway never takes a path away from a site. What is for operators goes to Starlette's
    routes, through its middleware; a request of a site does not, since each layer there is called
    and resumed for each message, and `Site` answers for the errors of its code.
    """

    front: Front | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve any scope (ASGI)."""
        if scope["type"] == "http":
            await self._find(scope)(scope, receive, send)
        elif scope["type"] == "websocket":
            # WSGI has no websockets. Closing before accepting makes the server answer 403.
            await send({"type": "websocket.close", "code": 1000})
        else:
            await super().__call__(scope, receive, send)

    def _find(self, scope: Scope) -> ASGIApp:
        if (front := self.front) is None:
            # The server does not run the lifespan, or has not yet.
            return pages.unavailable()
        try:
            host = head.clean(scope, front.limits)
            host, trusted = front.proxies.follow(scope, host)
        except RefusedError as error:
            return pages.refused(error.rule, scope["http_version"])
        if host in front.admin_hosts:
            # With all headers: `admin.auth` has to see what was forwarded, by whomever.
            return super().__call__
        if site := front.registry.find(host):
            log.request_id.set(proxies.hand_over(scope, trusted=trusted))
            return site
        liveness = scope.get("root_path", "") + endpoints.HEALTH
        return super().__call__ if scope["path"] == liveness else pages.no_site()


def create_app(settings: Settings | None = None) -> Gateway:
    """Return the gateway as an ASGI application. It needs a server that runs the lifespan.

    Without ``settings``, the environment is read when the application starts. Its start fails with
    `GatewayError` if a setting or ``sites.json`` cannot be used.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with log.visible():
            async with _running(app, settings or Settings.load()):
                yield

    app = Gateway(
        lifespan=lifespan,
        routes=endpoints.routes(),
        exception_handlers={
            ConfigError: endpoints.config_error,
            UnknownSiteError: endpoints.unknown_site,
            ModeError: endpoints.mode_error,
        },
        middleware=[Middleware(PlainStartFailure), Middleware(endpoints.NeverStored)],
    )
    app.router.redirect_slashes = False
    return app


@asynccontextmanager
async def _running(app: Gateway, settings: Settings) -> AsyncIterator[None]:
    """Start everything that runs while the gateway serves; stop it in the reverse order."""
    figures.share_one_arena()
    await asyncio.to_thread(pages.read_templates)
    loose = server.parses_loosely()
    if loose and settings.trusted_proxies:
        raise SettingsError(
            "GATEWAY_TRUSTED_PROXIES cannot be used with uvicorn's own protocol on httptools: it "
            "takes trailers for headers, so that anybody could say what the proxy says. Start "
            "uvicorn with --http gateway.protocol:Protocol"
        )
    admin_hosts = ADMIN_HOSTS.union(settings.admin_hosts)
    file = SitesFile(settings.sites, settings.state_dir, admin_hosts)
    token = await asyncio.to_thread(obtain_token, settings)
    authority = Authority(token, admin_hosts, open_locally=settings.admin_open)
    config, faults = await asyncio.to_thread(file.read_at_start)
    path = store_path(settings.state_dir, settings.sites)
    identity = Identity.mine()
    files = Files(StateFolder(settings.state_dir), evidence_prefix(settings.sites))
    budget = Budget(settings.memory_budget << 20)
    store_thread = StoreThread(partial(SqliteStore, path))
    loads = Loads(store_thread, identity.id)
    sightings = Sightings()
    events = Events()
    events.subscribe(History(store_thread, identity.id))
    # The evidence is outside: when it ends, faulthandler gets the stream of the process again.
    with Evidence(files.folder, files.prefix, identity.id), log.apart():
        async with (
            store_thread,
            InProcessBackend(settings.threads, budget, events=events) as backend,
            SelfWatch(backend.audit, sightings, StateFolder(settings.state_dir), identity.id),
            Registry(
                config,
                backend,
                faults=faults,
                retry=settings.load_retry,
                loads=loads,
                events=events,
            ) as registry,
            Reloads(registry, file.read) as reloads,
            Control(
                registry,
                reloads,
                store_thread,
                identity,
                loads,
                files,
                sightings,
                settings.crash_limit,
            ) as control,
            IdleSites(registry, budget, backend.reclaim),
            Watch(registry, control.refresh),
            CodeWatch(registry, control.follow),
            TokenWatch(authority, settings),
        ):
            app.state.authority = authority
            app.state.control = control
            app.state.registry = registry
            app.front = Front(
                HeadLimits(settings.max_head, settings.max_headers, upgrades=not loose),
                Proxies(settings.trusted_proxies, trust_host=settings.trust_forwarded_host),
                admin_hosts,
                registry,
            )
            await control.warm()
            yield


class PlainStartFailure:
    """Middleware that ends a failed start with a message if the operator can mend the cause.

    Other errors keep their traceback.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve any scope (ASGI), and watch the lifespan for ``lifespan.startup.failed``."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        failure: Message | None = None

        async def hold_failure(message: Message) -> None:
            nonlocal failure
            if message["type"] == START_FAILED:
                failure = message
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold_failure)
        except BaseException as error:
            if failure is None:
                raise
            if not isinstance(error, GatewayError):
                await send(failure)
                raise
            what = "sites.json" if isinstance(error, ConfigError) else "A setting"
            message = f"{what} cannot be used:\n{indent(str(error), '  ')}"
            await send({"type": START_FAILED, "message": message})


app = create_app()
