"""The bridge from ASGI to the WSGI application of a site, on a2wsgi.

Subclasses of a2wsgi's middleware and responder; what they change is named where they do it.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from a2wsgi.wsgi import WSGIMiddleware, WSGIResponder, build_environ
from starlette.types import Message, Receive, Scope, Send

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Bridge(WSGIMiddleware):  # type: ignore[misc]
    """An ASGI application that runs a WSGI application on the threads of ``executor``."""

    def __init__(self, app: WSGIApplication, executor: Executor) -> None:
        # Not super().__init__(): a2wsgi would make ten threads of its own that nobody ends.
        self.app = app
        self.executor = executor
        self.send_queue_size = 10

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        responder = Responder(self.app, self.executor, self.send_queue_size)
        await responder(scope, receive, send)


class Responder(WSGIResponder):  # type: ignore[misc]
    """One request. The view runs in the thread's own context, not in a copy for each request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._gone = False
        environ = build_environ(scope, io.BufferedReader(RequestBody(self.loop, receive)))
        environ["wsgi.errors"] = sys.stderr
        environ["wsgi.multiprocess"] = False
        sender = self.loop.create_task(self.sender(send))
        view = self.loop.run_in_executor(self.executor, self.wsgi, environ, self.start_response)
        try:
            await asyncio.wait({sender, view}, return_when=asyncio.FIRST_COMPLETED)
            if sender.done():  # the server cannot send any more
                sender.result()
            await view
            await self.send_queue.put(None)
            await sender
            if self.exc_info is not None:
                raise self.exc_info[1].with_traceback(self.exc_info[2])
        finally:
            self._let_go(sender)

    def _let_go(self, sender: asyncio.Task[None]) -> None:
        """Leave no thread behind that waits to send what nobody takes."""
        self._gone = True
        sender.cancel()
        while not self.send_queue.empty():
            self.send_queue.get_nowait()

    def send(self, message: Any) -> None:
        """Called on the thread of the view; waits until there is room."""
        asyncio.run_coroutine_threadsafe(self._put(message), self.loop).result()

    async def _put(self, message: Any) -> None:
        if self._gone:
            raise ConnectionAbortedError("the client has gone away")
        await self.send_queue.put(message)
        if self._gone:  # woken by letting go, not by the server
            raise ConnectionAbortedError("the client has gone away")


class RequestBody(io.RawIOBase):
    """The request body as a stream, to be read on the thread of the view.

    A client that disconnects during an upload is an error, which Django turns into
    ``UnreadablePostError``; a2wsgi takes it for the end of the body.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Receive) -> None:
        self._loop = loop
        self._receive = receive
        self._rest = b""
        self._more = True

    async def _next(self) -> Message:
        return await self._receive()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._rest and self._more:
            message = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the client went away before the end of the body")
            self._rest = message.get("body", b"")
            self._more = message.get("more_body", False)
        view = memoryview(buffer)
        size = min(len(view), len(self._rest))
        view[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
