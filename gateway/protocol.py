"""A protocol for uvicorn that finds the true end of each request and bounds its head.

``uvicorn --http gateway.protocol:Protocol gateway.main:app``. It is uvicorn's own protocol on
httptools, with additions that no application could make, because an application is called only
when a head is complete.

- An offer to change the protocol (``Upgrade``) is not taken, and never changes where a request
  ends (RFC 9110, section 7.8). httptools takes what follows the head for another protocol.
- Trailer fields are thrown away (RFC 9110, section 6.5.1). uvicorn adds them to the headers.
- Clients that send a head slowly, or without an end, are cut off.
- A target in absolute form is compared with ``Host``: uvicorn drops its host before it calls the
  application.
- A refused request ends the connection after the answers to the requests before it. So does a
  request that was answered before its body was complete.
- A client may send requests before it has read the answers, but only a few are taken in.
- A client of HTTP/1.0 gets no chunks, and is not told to continue.
- A client that does not read its answers cannot fill large buffers of the system, and is cut off
  when it has taken nothing for a while (`gateway.front.stalls`).
- A connection that is accepted just before the server stops still gets its answer.

`docs/upstream.md` tells which of these are faults of httptools or uvicorn.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Awaitable, Hashable
from functools import cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.config.limits import DEFAULTS
from gateway.front.head import RefusedError, Rule, check_authority, host_of
from gateway.front.proxies import CONNECTION
from gateway.front.stalls import RECEIVER, stalls_of, taken
from gateway.settings import Settings

if TYPE_CHECKING:
    from uvicorn._types import (
        ASGI3Application,
        ASGIReceiveCallable,
        ASGISendCallable,
        Scope,
    )
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

logger = logging.getLogger("gateway.protocol")

LAST_CALL: Final = 1.0
"""Seconds that a connection has for its first request when the server stops just after accepting
it. uvicorn alone closes it at once, and a request that is already on its way is lost."""

LINGER: Final = 5.0
"""Seconds that a client has to read an answer that came before the end of its request, and to go.
Closing at once would reset the connection, and the answer could be lost (RFC 9112, section 9.6)."""

FEW: Final = 8
"""Requests that may wait for their turn on one connection. Bytes after them are not parsed yet,
unless they came in the same piece."""
PIECE: Final = 1 << 12
"""Bytes that are parsed at a time if many requests were read at once."""

NOT_SENT: Final = 1 << 17
"""Bytes of a response that the system takes before it can send them (``TCP_NOTSENT_LOWAT``).
Bytes under way to the client do not count, so the limit does not slow down fast clients. Without it
the system takes 4 MB for each client that does not read."""

OFFER: Final = frozenset({b"upgrade", b"http2-settings"})
"""The headers, and the options of ``Connection``, that offer another protocol (RFC 9110, section
7.8; RFC 7540, section 3.2.1). They concern the connection, so no application gets them."""

_TCP: Final = (socket.AF_INET, socket.AF_INET6)
_LARGE_FRAME: Final = "trailer fields or chunk extensions of more bytes than `GATEWAY_MAX_HEAD`"
_RESPONSE: Final = (
    "HTTP/1.1 {status} {phrase}\r\n"
    "content-type: text/plain; charset=utf-8\r\n"
    "content-length: {length}\r\n"
    "connection: close\r\n"
    "\r\n"
    "{text}"
)


def _make_parser(protocol: Protocol) -> HttpRequestParser:
    parser = HttpRequestParser(protocol)
    # As uvicorn does: bytes after the last request must not keep it from being answered.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


class _Flow(FlowControl):
    """A flow control that does not read on while bytes that were read are held back."""

    holds = False

    def resume_reading(self) -> None:
        if self.read_paused and not self.holds:
            super().resume_reading()


class Protocol(HttpToolsProtocol):
    """One connection of a client.

    The deadline of the first head runs from the start of the connection; that of each later head,
    from its first byte. Between two requests, uvicorn's ``--timeout-keep-alive`` counts instead. A
    later head that comes in one piece, as most do, sets no timer.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        settings = _settings()
        self._patience = settings.head_timeout
        self._max_head = settings.max_head
        self._deadline: asyncio.TimerHandle | None = None
        self._awaits_head = True
        self._in_head = False
        self._received = 0
        """Bytes since the last complete head or the last piece of a body."""
        self._is_new = True
        self._last_call = False
        self._running: RequestResponseCycle | None = None
        """The exchange whose turn it is; uvicorn's ``cycle`` is the newest one, which may wait."""
        self._running_app: ASGI3Application = self.app
        """The application for it: another than usual above uvicorn's ``--limit-concurrency``."""
        self._refusal: bytes | None = None
        """The answer that ends the connection after those before it have been sent."""
        self._held: bytes = b""
        """Bytes that have been read, and are parsed when there is room for further requests."""
        self._keep_alive = True
        """True if another exchange may follow the newest one after the proper end of its body."""
        self._answered_early = False
        self._lingers = False
        self.send_timeout = DEFAULTS.send_timeout
        """That of the site which answers; the bridge of the site sets it."""
        self._connection: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first head."""
        super().connection_made(transport)
        self.flow: _Flow = _Flow(transport)
        self._connection = connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in _TCP:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT)
        self._start_deadline()
        stalls_of(self.loop).add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the deadline, and tell the exchange whose turn it is."""
        stalls_of(self.loop).discard(self)
        self._stop_deadline()
        super().connection_lost(exc)
        if (running := self._under_way()) is not None:
            # uvicorn tells only the newest exchange.
            _leave(running)

    def mark(self) -> Hashable:
        """Return what changes when the client takes bytes; see `gateway.front.stalls`."""
        waiting = self.transport.get_write_buffer_size()
        return taken(self._connection, waiting) if waiting else None

    def cut(self) -> None:
        """End the connection: the client has taken nothing of what waits for it."""
        logger.debug("%s: cut off, it does not read", self.client[0] if self.client else "a client")
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take in the bytes that came: all of them, or as many as may wait."""
        if self._held:
            self._held += data
            return
        many = data.count(b"\r\n\r\n") > FEW
        if not (many or self.pipeline):
            self._take_in(data)
            return
        # Only many requests are parsed in pieces: a body may be as large as it came.
        size = PIECE if many else len(data)
        for begin in range(0, len(data), size):
            if len(self.pipeline) >= FEW:
                self._hold(data[begin:])
                return
            self._take_in(data[begin : begin + size])

    def _take_in(self, data: bytes) -> None:
        """Parse ``data``, and refuse a head that grows beyond its limit."""
        if self._refusal is not None or self._lingers or self.transport.is_closing():
            return
        self._received += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self._refuse(400, "the request is not valid")
            return
        # Both are false after a whole request; empty lines before a request count as received.
        if not (self._in_head or self._received) or self.transport.is_closing():
            return
        if self._received > self._max_head:
            self._refuse(431, Rule.LARGE_HEAD.what if self._awaits_head else _LARGE_FRAME)
        elif self._awaits_head and self._deadline is None:
            self._start_deadline()

    def _parse(self, data: bytes | memoryview) -> None:
        """Parse all of ``data``; raises ``HttpParserError``.

        httptools stops behind a head that offers another protocol, and no option changes that. A
        parser that has stopped cannot always go on (it takes in nothing more after ``Connection:
        close``). So a new parser gets the head without the offer, and then the bytes behind it.
        """
        while data:
            try:
                self.parser.feed_data(data)
                return
            except HttpParserUpgrade as offer:
                data = memoryview(data)[offer.args[0] :]
                head = self._head_without_offer()
                self.parser = _make_parser(self)
                self.parser.feed_data(head)

    def on_message_begin(self) -> None:
        """Note the real peer of the connection, before a middleware of uvicorn replaces it."""
        super().on_message_begin()
        self._in_head = True
        self.scope[CONNECTION] = (self.client, self.scheme)  # type: ignore[typeddict-unknown-key]
        self.scope[RECEIVER] = self  # type: ignore[typeddict-unknown-key]

    def on_headers_complete(self) -> None:
        """Hand the request to the application: its head is complete."""
        # An error that is raised in a callback of the parser is answered with 400.
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise RefusedError(Rule.TARGET_FORM)
            return  # `_parse` gives the parser the head again, without the offer
        if b"#" in self.url:
            raise RefusedError(Rule.TARGET)  # uvicorn cuts off what follows
        if b"://" in self.url and not self.url.startswith(b"/"):
            self._make_path()
        if self.expect_100_continue and self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # RFC 9110, section 10.1.1
        super().on_headers_complete()
        # Only trailers can be added to the list from here on, and they are thrown away.
        self.headers = []
        self._awaits_head = self._in_head = self._is_new = False
        self._received = 0
        if self._deadline is not None:
            self._stop_deadline()
        # False until the end of the body has come: after an earlier answer, anything may follow.
        self._keep_alive = self.cycle.keep_alive and not self._last_call
        self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take in a piece of the body."""
        self._received = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect another head: the body is complete."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._received = 0
        self._awaits_head = True
        if not self.cycle.response_started:
            # A trailer `Connection: close`, too, makes the parser read no further.
            self.cycle.keep_alive = self._keep_alive and self.parser.should_keep_alive()

    def on_response_complete(self) -> None:
        """Go on with the next request, or end the connection if that has been decided."""
        if self._answered_early:
            self.pipeline.clear()
        super().on_response_complete()
        if self._answered_early:
            self._linger()
        elif self._refusal is not None and self._under_way() is None:
            self._end(self._refusal)
        elif self._held and len(self.pipeline) < FEW:
            self._go_on()

    def _head_without_offer(self) -> bytes:
        """Return the head that the parser has stopped behind, without its offer to upgrade."""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                options = value.split(b",")
                value = b",".join(each for each in options if each.strip().lower() not in OFFER)
            if name not in OFFER:
                lines.append(b"%b: %b\r\n" % (name, value))
        return b"".join((*lines, b"\r\n"))

    def shutdown(self) -> None:
        """Stop after the request under way; a new connection gets time for its first one."""
        if self._is_new:
            self._last_call = True
            self.loop.call_later(LAST_CALL, super().shutdown)
            return
        super().shutdown()
        self._keep_alive = False
        if (running := self._under_way()) is not None:
            running.keep_alive = False  # requests that wait behind it are not answered any more

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        self._running_app = app
        self.send_timeout = DEFAULTS.send_timeout
        super()._start_asgi_task(cycle, self._serve)

    def _serve(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> Awaitable[None]:
        """Call the application for the exchange whose turn it is.

        This is no coroutine, because one more would have to be made and resumed for each request.
        A body that came together with the head is complete by now, so most requests get uvicorn's
        own ``send``.
        """
        cycle = self._running
        assert cycle is not None, "an exchange is started before its application is called"
        if cycle.more_body:
            send = partial(self._send_early, cycle, send)
        if cycle.scope["http_version"] == "1.0":
            send = partial(_send_whole, cycle, send)
        return self._running_app(scope, receive, send)

    async def _send_early(
        self, cycle: RequestResponseCycle, send: ASGISendCallable, message: Any
    ) -> None:
        """Send an answer that may come before the end of its request."""
        await send(message)
        if message["type"] == "http.response.start" and cycle.more_body:
            # Its head has said `Connection: close`. With this flag, uvicorn does not close the
            # connection at the end of the answer, so that `_linger` can.
            cycle.keep_alive = self._answered_early = True

    def _linger(self) -> None:
        """Take in no more, and give the client time to read the answer."""
        if self.transport.is_closing():
            return
        self._lingers = True
        self._unset_keepalive_if_required()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._stop_deadline()
        self._deadline = self.loop.call_later(LINGER, self.transport.close)

    def _hold(self, data: bytes) -> None:
        self._held = data
        self.flow.holds = True
        self.flow.pause_reading()

    def _go_on(self) -> None:
        data, self._held = self._held, b""
        self.flow.holds = False
        self.flow.resume_reading()
        self.data_received(data)

    def _under_way(self) -> RequestResponseCycle | None:
        """Return the exchange whose answer is being made or sent, if there is one."""
        running = self._running
        return None if running is None or running.response_complete else running

    def _make_path(self) -> None:
        """Replace a target in absolute form by its path; raises `RefusedError`."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1:
            raise RefusedError(Rule.HOST)
        self.url = check_authority(self.url, host_of(hosts[0].strip(b" \t")))

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self._patience, self._give_up)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            # This head was sent before the last request was answered, and may not have been read.
            self._start_deadline()
        elif self._in_head:
            self._refuse(408, "the head of the request took too long")
        else:
            self.transport.close()

    def _refuse(self, status: int, reason: str) -> None:
        """End the connection with an answer that follows those to the requests before."""
        # At level debug: a client that opens a thousand connections would write a thousand lines.
        logger.debug("%s: refused, %s", self.client[0] if self.client else "a client", reason)
        text = f"{reason}\n"
        phrase = HTTPStatus(status).phrase
        answer = _RESPONSE.format(status=status, phrase=phrase, length=len(text), text=text).encode(
            "ascii"
        )
        running = self._under_way()
        broken = None if self._awaits_head else self.cycle  # its body will not be complete
        if broken is not None:
            _leave(broken)
        if running is None:
            self._end(answer)
        elif running is broken:
            self._end(b"" if running.response_started else answer)
        else:
            if broken is not None:
                self.pipeline.popleft()
            self._refusal = answer

    def _end(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()


async def _send_whole(cycle: RequestResponseCycle, send: ASGISendCallable, message: Any) -> None:
    """Send an answer to HTTP/1.0: without a length, it ends with the connection (RFC 9112, 6.3).

    uvicorn would send chunks, which HTTP/1.0 does not know (RFC 9112, section 6.1).
    """
    if message["type"] == "http.response.start":
        if all(name.lower() != b"content-length" for name, _ in message.get("headers", ())):
            cycle.chunked_encoding = False
            cycle.expected_content_length = sys.maxsize
    elif cycle.expected_content_length > sys.maxsize >> 1 and not message.get("more_body"):
        cycle.expected_content_length = len(message.get("body", b""))
    await send(message)


def _leave(cycle: RequestResponseCycle) -> None:
    """Tell an exchange that its client is gone."""
    cycle.disconnected = True
    cycle.message_event.set()


@cache
def _settings() -> Settings:
    """Return the settings of the process: a server gives its protocols only its own options."""
    return Settings.load()
