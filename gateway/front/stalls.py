"""Clients that do not take what is sent to them are cut off.

A client may read as slowly as it likes, and a stream may be quiet. But if something waits to be
sent and the client takes nothing of it for `send_timeout`, the connection ends, and with it the
request: its thread, its places and its memory are given back.

What a client takes is known exactly to `gateway.protocol` alone. An application under another
server only sees that ``send`` does not return (`Blind`).
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import struct
import sys
import termios
from collections.abc import Hashable
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

logger = logging.getLogger("gateway.stalls")

RECEIVER: Final = "gateway.receiver"
"""The scope key of the connection as a `Receiver`, under a server that watches it."""

PAUSE: Final = 1.0
"""Seconds between two looks at all clients."""
_TCP: Final = (socket.AF_INET, socket.AF_INET6)
_BYTES_ACKED: Final = struct.Struct("=120xQ")
"""Where Linux tells in ``TCP_INFO`` how many bytes the system of the client has taken."""
_INT: Final = struct.Struct("=i")


class Receiver(Protocol):
    """A client, and what waits for it."""

    send_timeout: float
    """Seconds after which it is cut off; 0 for never."""

    def mark(self) -> Hashable:
        """Return something that changes when the client takes bytes; ``None`` if none wait."""

    def cut(self) -> None:
        """End the connection."""


class StalledError(Exception):
    """The client takes nothing of what is sent to it; there is nobody to answer."""


class Stalls:
    """Looks at all clients of an event loop together: a timer for each would cost more.

    ``pause`` is the number of seconds between two looks; all times are exact to this.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pause: float = PAUSE) -> None:
        self._pause = pause
        self._call_later = loop.call_later
        self._time = loop.time
        self._receivers: set[Receiver] = set()
        # For each that something waits for: its mark, and the time since when it is the same.
        self._marks: dict[Receiver, tuple[Hashable, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, receiver: Receiver) -> None:
        """Watch a client until it is discarded."""
        self._receivers.add(receiver)
        if self._timer is None:
            self._timer = self._call_later(self._pause, self._look)

    def discard(self, receiver: Receiver) -> None:
        """Watch it no more."""
        self._receivers.discard(receiver)

    def _look(self) -> None:
        marks, self._marks = self._marks, {}
        now = self._time()
        for receiver in tuple(self._receivers):
            try:
                if (mark := receiver.mark()) is not None:
                    self._compare(receiver, mark, marks.get(receiver), now)
            except Exception:  # the others are looked at all the same
                logger.exception("a client could not be looked at")
        self._timer = self._call_later(self._pause, self._look) if self._receivers else None

    def _compare(
        self, receiver: Receiver, mark: Hashable, last: tuple[Hashable, float] | None, now: float
    ) -> None:
        if last is None or last[0] != mark:
            last = mark, now
        self._marks[receiver] = last
        if receiver.send_timeout and now - last[1] >= receiver.send_timeout:
            del self._marks[receiver]
            receiver.cut()


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Stalls] = WeakKeyDictionary()


def stalls_of(loop: asyncio.AbstractEventLoop) -> Stalls:
    """Return the one that looks at the clients of this loop."""
    if (stalls := _of_loops.get(loop)) is None:
        stalls = _of_loops[loop] = Stalls(loop)
    return stalls


def taken(connection: Any, waiting: int) -> int:
    """Return a number that changes when the system of the client takes bytes.

    ``waiting`` is the number of bytes that wait for the ``connection``, a socket. For TCP on Linux
    the number is that of the bytes which the client has acknowledged. Elsewhere it is that of the
    bytes which it has not, so that bytes that join them change it as well: a client that takes
    nothing is found out when it has to be waited for, and no more are added.
    """
    if connection is None:  # the transport has no socket that could be asked
        return waiting
    try:
        if sys.platform == "linux" and connection.family in _TCP:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
            return int(_BYTES_ACKED.unpack(info)[0])
        unread = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_INT.size))
        return waiting + int(_INT.unpack(unread)[0])
    except (OSError, ValueError, struct.error):  # it is closed, or the system does not tell
        return waiting


class Blind:
    """A client under a server that does not tell what it takes; the `Receiver` of one request.

    Something waits for it while ``send`` does not return. A server takes bytes in until its own
    buffers and those of the system are full, and goes on when they are nearly empty. So a client
    counts as stalled that takes less than that in its time.

    Who sends is a subclass that keeps the attributes true, because a wrapper of ``send`` would be
    called and resumed for each message of each response.
    """

    send_timeout: float
    sending = False
    """True while ``send`` has been called and has not returned."""
    sent = 0
    """The number of messages for which it has returned."""
    task: asyncio.Task[Any] | None = None
    """The one that sends."""
    _is_cut = False

    def mark(self) -> Hashable:
        """Return the number of messages that were sent; see `Receiver`."""
        return self.sent if self.sending else None

    def cut(self) -> None:
        """Cancel ``send``; the server ends the connection when the application ends."""
        if self.sending and self.task is not None and not self._is_cut:
            self._is_cut = True
            self.task.cancel()

    def cancelled(self) -> None:
        """Tell a cut from other reasons to be cancelled: raises `StalledError` for one."""
        # As asyncio.timeout() does, at a third of its cost: another may have cancelled as well.
        if self._is_cut and self.task is not None and not self.task.uncancel():
            raise StalledError from None
