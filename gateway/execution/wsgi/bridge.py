"""The bridge of one site: the part of a request that happens on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import re
from collections.abc import Awaitable
from typing import IO, Final

from a2wsgi import WSGIMiddleware
from a2wsgi.wsgi_typing import WSGIApp
from starlette.types import Receive, Scope, Send

from gateway.config.limits import Limits
from gateway.execution.governor import Account, OverloadedError
from gateway.execution.passage import Passage
from gateway.execution.pool import Threads
from gateway.execution.wsgi.body import (
    BadBodyError,
    BodyTooLargeError,
    ClientLeftError,
    SlowBodyError,
    declared_length,
)
from gateway.execution.wsgi.environ import build_environ
from gateway.execution.wsgi.response import Responder
from gateway.execution.wsgi.traffic import Traffic
from gateway.front import pages
from gateway.front.head import Rule
from gateway.front.stalls import RECEIVER, Blind, Receiver, StalledError, Stalls
from gateway.namespace import streams
from gateway.sites.probe import PROBE

_SWEEP: Final = 0.25
"""Seconds between two looks at the open requests; the limits in time are exact to this."""
_WATCH_AFTER: Final = 1.0
"""Seconds after which a request is watched for its client going away."""


class RequestTimeoutError(Exception):
    """The application did not answer in time (504)."""


class Bridge(WSGIMiddleware):
    """a2wsgi's middleware, whose requests run on the threads of their site.

    Sockets and the lifespan are a2wsgi's affair; the way of a request is another.
    """

    executor: Threads  # type: ignore[assignment]

    def __init__(self, app: WSGIApp, threads: Threads, traffic: Traffic, limits: Limits) -> None:
        super().__init__(app, workers=1)  # its executor has not started any thread
        self.executor = threads
        self.traffic = traffic
        self.limits = limits
        self.errors = streams.make("stderr")  # the application may close it
        share = traffic.share(threads.reporter.site)
        self.account = Account(limits.concurrency, limits.queue_length, share)
        self._open: set[Exchange] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    # The types of ASGI are a2wsgi's own, and fit Starlette's nowhere.
    async def __call__(  # type: ignore[override]
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve any scope (ASGI)."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)  # type: ignore[arg-type]
            return
        if (limit := self.limits.max_header) is not None and _size(scope) > limit:
            await pages.refused(Rule.LARGE_HEAD, scope["http_version"])(scope, receive, send)
            return
        try:
            declared = declared_length(scope)
            if declared == 0:
                await self._exchange(scope, receive, send, io.BytesIO(), None)
                return
            with self.traffic.intake.body() as body:
                file, length = await body.receive(receive, declared, self.limits)
                await self._exchange(scope, receive, send, file, length)
        except (ClientLeftError, StalledError):
            pass  # there is nobody to answer
        except BodyTooLargeError:
            page = pages.too_large(self.limits.max_body, scope["http_version"])
            await page(scope, receive, send)
        except SlowBodyError:
            await pages.too_slow(scope["http_version"])(scope, receive, send)
        except BadBodyError:
            await pages.bad_request(scope["http_version"])(scope, receive, send)
        except OverloadedError:
            await pages.busy(self.limits.queue_wait)(scope, receive, send)
        except RequestTimeoutError:
            await pages.timed_out()(scope, receive, send)

    def in_flight(self) -> list[str]:
        """Return a text for each open request that tells what it is doing."""
        now = self.traffic.loop.time()
        return [exchange.describe(now - exchange.since) for exchange in self._open]

    def close(self) -> None:
        """Let go of all requests that are still open, and count them no more."""
        for exchange in tuple(self._open):
            exchange.responder.told = True  # by `in_flight`, when the generation was retired
            exchange.responder.fail(ConnectionAbortedError("the code of the site was unloaded"))
        self.traffic.hangs.unloaded(self.executor)

    def _exchange(
        self, scope: Scope, receive: Receive, send: Send, body: IO[bytes], length: int | None
    ) -> Awaitable[None]:
        """Have the application run, and return what sends its answer."""
        traffic = self.traffic
        passage = Passage(
            self.account,
            self.account.route(_route(scope["method"], scope["path"])),
            self.executor,
            traffic.governor,
            traffic.loop_queue,
        )
        environ = build_environ(scope, body, length, self.errors)
        if probed := PROBE in scope.get("extensions", ()):
            environ[PROBE] = scope["extensions"][PROBE]  # type: ignore[typeddict-unknown-key]
        responder = Responder(
            self.app, environ, passage, traffic.loop_queue, self.limits.request_timeout
        )
        del environ  # it ends on its thread
        passage.enter(responder, at_once=probed)
        traffic.watch()
        if self._sweeper is None:
            self._sweeper = traffic.loop.call_later(_SWEEP, self._sweep)
        exchange = Exchange(responder, receive, send, self._open)
        receiver: Receiver = scope.get(RECEIVER, exchange)
        receiver.send_timeout = self.limits.send_timeout
        if receiver is exchange:
            exchange.task = asyncio.current_task()
        return exchange.relay()

    def _sweep(self) -> None:
        """Check the limits of all open requests, which costs less than a timer for each."""
        self._sweeper = None
        now = self.traffic.loop.time()
        for exchange in tuple(self._open):
            exchange.check(now - exchange.since, self.limits)
            if exchange.task is not None:  # the server does not tell what its client takes
                exchange.be_watched(self.traffic.stalls)
        if self._open:
            self._sweeper = self.traffic.loop.call_later(_SWEEP, self._sweep)


class Exchange(Blind):
    """One request, from the moment its body is complete until its response has been sent.

    It is one of those that are ``open`` until `relay`, which has to be called, has ended.
    """

    _watched_by: Stalls | None = None

    def __init__(
        self, responder: Responder, receive: Receive, send: Send, open: set[Exchange]
    ) -> None:
        self.responder = responder
        self.since = responder.since
        self._receive = receive
        self._send = send
        self._open = open
        open.add(self)
        self._watcher: asyncio.Task[None] | None = None

    async def relay(self) -> None:
        """Send the answer of the application.

        Raises the error of the application, `ClientLeftError`, `OverloadedError`,
        `RequestTimeoutError` and `StalledError`.
        """
        responder = self.responder
        try:
            done = False
            while not done:
                await responder.ready()
                head, piece, done = responder.take()
                if done and responder.error is not None:
                    raise responder.error
                self.sending = True
                if head is not None:
                    await self._send(
                        {
                            "type": "http.response.start",
                            "status": head.status,
                            "headers": head.headers,
                        }
                    )
                    self.sent += 1
                if piece or done:
                    await self._send(
                        {"type": "http.response.body", "body": piece, "more_body": not done}
                    )
                    self.sent += 1
                self.sending = False
                if not done:
                    self._watch()
                    responder.go_on()
        except asyncio.CancelledError:
            self.cancelled()
            raise
        finally:
            self._open.discard(self)
            self.sending = False
            if self._watched_by is not None:
                self._watched_by.discard(self)
            responder.forget_errors()
            if not responder.done:
                responder.let_go()
            watcher, self._watcher = self._watcher, None  # its end refers to its frame, and to self
            if watcher is not None:
                watcher.cancel()

    def describe(self, age: float) -> str:
        """Return a text for the log: the request and what it is doing; ``age`` in seconds."""
        responder = self.responder
        stack = responder.stack
        doing = f"it is here:\n{stack}" if stack else "it waits"
        return f"{responder.request}, since {age:.0f} s; {doing}"

    def check(self, age: float, limits: Limits) -> None:
        """End the request if a limit in time is over; ``age`` in seconds."""
        responder = self.responder
        if responder.waits and age > limits.queue_wait:
            responder.fail(OverloadedError())
        elif limits.request_timeout and age > limits.request_timeout and not responder.answers:
            responder.told = True
            responder.passage.threads.reporter.logger("gateway.wsgi").error(
                "%s was not answered within %g s and goes on; it is here:\n%s",
                responder.request,
                limits.request_timeout,
                responder.stack,
            )
            responder.fail(RequestTimeoutError())
        elif age > _WATCH_AFTER:
            self._watch()

    def be_watched(self, stalls: Stalls) -> None:
        """Have its client looked at until it is over. Most are over before it comes to this."""
        self._watched_by = stalls
        stalls.add(self)

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._await_departure())

    async def _await_departure(self) -> None:
        with contextlib.suppress(Exception):  # a server may tell it by an error
            while (await self._receive())["type"] != "http.disconnect":
                pass
        self.responder.fail(ClientLeftError())


def _size(scope: Scope) -> int:
    return sum(len(name) + len(value) for name, value in scope["headers"])


@functools.lru_cache(4096)
def _route(method: str, path: str) -> str:
    """Return one name for requests that may behave alike: Django's own routes are not known yet."""
    return method + _VARIABLE.sub("*", "/".join(path.split("/", 6)[:6]))


_VARIABLE: Final = re.compile(r"[^/]*[0-9][^/]*|[^/]{40,}")
