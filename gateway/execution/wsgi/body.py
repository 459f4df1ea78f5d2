"""Request bodies, taken in on the event loop before a thread is held for them.

Small bodies stay in memory. A body above `SPOOL_ABOVE` goes to a temporary file, written on a
thread, and so does any body above `BLOCK` while all bodies together fill `MEMORY`.

The time for a whole body has no limit, but `PROGRESS` bytes have to come in each stretch of time. A
limit for the whole body would be too short for a large upload over a slow line. A limit for the
silence between two bytes would not stop a client that sends one byte a minute.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from starlette.types import Message, Receive, Scope

from gateway.config.limits import Limits

SPOOL_ABOVE: Final = 1 << 20
"""Bytes of one body that are held in memory."""
BLOCK: Final = 1 << 16
"""Bytes of one body that are held in memory while all bodies together fill `MEMORY`."""
MEMORY: Final = 64 << 20
"""Bytes of all bodies together that are held in memory before small ones are spooled as well."""
PROGRESS: Final = 1 << 14
"""Bytes that have to come in each stretch of time, unless the body ends in it."""
_JUST_NOW: Final = 0.01
"""Seconds after the last piece for which a body counts as coming; longer than a write to disk."""


class BodyTooLargeError(Exception):
    """The body has more bytes than the site takes (413)."""


class BadBodyError(Exception):
    """The length of the body is not the one that the head declares (400)."""


class SlowBodyError(Exception):
    """The body comes too slowly, or not at all (408)."""


class ClientLeftError(Exception):
    """The client went away before its request was complete; there is nobody to answer."""


def declared_length(scope: Scope) -> int | None:
    """Return the length of the body as the head declares it, in bytes.

    0 means that there is no body; ``None``, that only the end of the body tells its length.
    `gateway.front.head` has checked that there is one Content-Length at most, and that it is a
    number.
    """
    # Without either of the headers there is a body in HTTP/2 and 3 only (RFC 9112, section 6.3).
    length: int | None = 0 if scope["http_version"] in ("1.1", "1.0") else None
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = int(value)
    return length


class _Patience:
    """Waits for the pieces of one body, ``stretch`` seconds for each `PROGRESS` bytes."""

    def __init__(self, stretch: float) -> None:
        self._stretch = stretch
        self._mark = 0
        self._begin()

    def _begin(self) -> None:
        now = asyncio.get_running_loop().time()
        self._deadline = now + self._stretch if self._stretch else None

    async def wait(self, receive: Receive, total: int) -> Message:
        """Return the next message; ``total`` bytes have come before. Raises `SlowBodyError`."""
        if total - self._mark >= PROGRESS:
            self._mark = total
            self._begin()
        try:
            async with asyncio.timeout_at(self._deadline) as timeout:
                return await receive()
        except TimeoutError:
            if timeout.expired():
                raise SlowBodyError from None
            raise


class Intake:
    """The intake of the bodies of all requests; it counts the memory that they hold.

    A body counts as coming while its latest piece is less than ``just_now`` seconds old.
    """

    def __init__(self, just_now: float = _JUST_NOW) -> None:
        self._just_now = just_now
        self._held = 0
        # The time of the latest piece that was not the last one of its body.
        self._latest = 0.0

    @property
    def receives(self) -> bool:
        """Tell whether a body of several pieces is coming just now. Called on the event loop."""
        return asyncio.get_running_loop().time() - self._latest < self._just_now

    @contextmanager
    def body(self) -> Iterator[Body]:
        """Give a new body, and free what it holds at the end of the block."""
        body = Body(self)
        try:
            yield body
        finally:
            body.close()


class Body:
    """One body that comes in, made by `Intake.body`."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._buffer = bytearray()
        self._counted = 0
        self._file: IO[bytes] | None = None

    async def receive(
        self, receive: Receive, declared: int | None, limits: Limits
    ) -> tuple[IO[bytes], int]:
        """Take in the whole body; return it as a file, to be read from its start, and its length.

        Raises `BodyTooLargeError`, `BadBodyError` if its length is not the declared one,
        `SlowBodyError` and `ClientLeftError`. An ``http.disconnect`` before the last piece means
        that the body is not complete (ASGI, HTTP).
        """
        limit, patience = limits.max_body, _Patience(limits.body_timeout)
        if declared is not None and declared > limit:
            raise BodyTooLargeError
        total, more = 0, True
        while more:
            message = await patience.wait(receive, total)
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            piece = message.get("body", b"")
            more = message.get("more_body", False)
            total += len(piece)
            if more:
                self._intake._latest = asyncio.get_running_loop().time()
            if total > limit:
                raise BodyTooLargeError
            if not more and not self._buffer and self._file is None:
                self._check(declared, total)
                return io.BytesIO(piece), total
            self._buffer += piece
            self._count()
            if len(self._buffer) > self._room():
                await self._spool()
        self._check(declared, total)
        if self._file is None:
            return io.BytesIO(self._buffer), total
        await self._spool()
        self._file.seek(0)
        return self._file, total

    def close(self) -> None:
        """Free the memory or the file of the body."""
        self._intake._held -= self._counted
        self._counted = 0
        if self._file is not None:
            self._file.close()

    @staticmethod
    def _check(declared: int | None, total: int) -> None:
        if declared is not None and declared != total:
            raise BadBodyError

    def _room(self) -> int:
        return SPOOL_ABOVE if self._file is None and self._intake._held < MEMORY else BLOCK

    def _count(self) -> None:
        self._intake._held += len(self._buffer) - self._counted
        self._counted = len(self._buffer)

    async def _spool(self) -> None:
        piece, self._buffer = self._buffer, bytearray()
        await asyncio.get_running_loop().run_in_executor(None, self._write, piece)
        self._count()

    def _write(self, piece: bytearray) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="gateway-body-")  # noqa: SIM115
        self._file.write(piece)
