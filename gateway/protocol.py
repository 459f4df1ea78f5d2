"""A protocol for uvicorn that bounds the head of a request in time and size.

``uvicorn --http gateway.protocol:Protocol gateway.main:app``. It is uvicorn's own on httptools,
and adds what no application can do, because it is called once a head is complete: clients that
send it slowly, or without an end, are cut off; a target in absolute form is held against ``Host``,
which uvicorn has no longer when it calls the application; a client that does not read fills no
buffer of the system; and a connection that is accepted just before the server stops still gets its
answer.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.hygiene import RefusedError, Rule, check_authority, host_of
from gateway.proxies import CONNECTION
from gateway.settings import Settings

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

logger = logging.getLogger("gateway.protocol")

LAST_CALL: Final = 1.0
"""Seconds that a connection has for its first request when the server stops just after accepting
it. uvicorn alone closes it at once, and a request that is already on its way is lost."""

NOT_SENT: Final = 1 << 17
"""Bytes of a response that the system takes before it can send them (``TCP_NOTSENT_LOWAT``).
What is under way to the client counts for nothing, so a fast one is served as fast. Without it the
system takes 4 MB for each client that does not read."""

_TCP: Final = (socket.AF_INET, socket.AF_INET6)
_RESPONSE: Final = (
    "HTTP/1.1 {status} {phrase}\r\n"
    "content-type: text/plain; charset=utf-8\r\n"
    "content-length: {length}\r\n"
    "connection: close\r\n"
    "\r\n"
    "{text}"
)


class Protocol(HttpToolsProtocol):
    """One connection of a client.

    The deadline runs from the start of the connection until the first head is complete, and from
    the first byte of each later one; between two requests uvicorn's ``--timeout-keep-alive`` does.
    A head that comes in one piece, as most do, sets no timer.
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
        self._is_new = True
        self._last_call = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in _TCP:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what came, and refuse a head that grows beyond its limit."""
        if self._awaits_head:
            self._received += len(data)
        super().data_received(data)
        # Whole requests leave neither behind; empty lines before a request leave the second.
        if not (self._in_head or self._received) or self.transport.is_closing():
            return
        if self._received > self._max_head:
            self._refuse(431, Rule.LARGE_HEAD.what)
        elif self._deadline is None:
            self._start_deadline()

    def on_message_begin(self) -> None:
        """Note what the connection itself is, before any middleware of uvicorn changes it."""
        super().on_message_begin()
        self._in_head = True
        self.scope[CONNECTION] = (self.client, self.scheme)  # type: ignore[typeddict-unknown-key]

    def on_headers_complete(self) -> None:
        """The head is there: hand the request to the application."""
        self._awaits_head = self._in_head = self._is_new = False
        self._received = 0
        self._stop_deadline()
        if b"://" in self.url and not self.url.startswith(b"/"):
            self._check_target()
        super().on_headers_complete()
        if self._last_call and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The body is there: what comes next is another head."""
        super().on_message_complete()
        self._awaits_head = True

    def shutdown(self) -> None:
        """Stop with the request under way, the first one of a new connection included."""
        if self._is_new:
            self._last_call = True
            self.loop.call_later(LAST_CALL, super().shutdown)
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser did not understand."""
        if self._is_answering():
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _check_target(self) -> None:
        # What is raised in a callback of the parser makes uvicorn answer 400.
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1:
            raise RefusedError(Rule.HOST)
        check_authority(self.url, host_of(hosts[0]))

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self._patience, self._give_up)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            # A request was sent before the last one was answered, and may not have been read.
            self._start_deadline()
        elif self._in_head:
            self._refuse(408, "the head of the request took too long")
        else:
            self.transport.close()

    def _refuse(self, status: int, reason: str) -> None:
        # Not louder: whoever opens a thousand connections would write a thousand lines.
        logger.debug("%s: closed, %s", self.client[0] if self.client else "a client", reason)
        if not self._is_answering():
            text = f"{reason}\n"
            phrase = HTTPStatus(status).phrase
            answer = _RESPONSE.format(status=status, phrase=phrase, length=len(text), text=text)
            self.transport.write(answer.encode("ascii"))
        self.transport.close()

    def _is_answering(self) -> bool:
        """Whether a further answer would land in the middle of one that has begun."""
        cycle = self.cycle
        return cycle is not None and cycle.response_started and not cycle.response_complete


@cache
def _settings() -> Settings:
    """Of the process: a server makes protocols, and gives them nothing but its own options."""
    return Settings.load()
