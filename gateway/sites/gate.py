"""The gate of a site lets its visitors in, holds them for a moment, or turns them away.

An operator chooses the mode. It has nothing to do with the code of the site, which may be
reloaded, fail or be unloaded meanwhile. The gate stops only requests that arrive; those that it
has let in go on.

- *open*: every visitor gets in.
- *paused*: a visitor waits, in order and without a thread, and gets in when the pause ends. After
  the ``pause_timeout`` of the site the answer is 503. This is for a migration that takes seconds.
- *maintenance*: a visitor gets a 503 page, the project's own if it has one.

A site whose code has ended workers is *set aside* by the gateway itself, whatever its mode: a
visitor gets a 503 page that says so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from starlette.types import Message, Receive

from gateway.disk.files import read_file
from gateway.errors import GatewayError

OWN_PAGE: Final = ("503.html", "templates/503.html")
"""The files in the folder of a project that may hold its own maintenance page; the first counts."""
_LARGEST_PAGE: Final = 1 << 20


class Mode(StrEnum):
    """The mode of a gate."""

    OPEN = "open"
    PAUSED = "paused"
    MAINTENANCE = "maintenance"


CHANGES: Final[Mapping[str, Mapping[Mode, Mode]]] = MappingProxyType(
    {
        "pause": {Mode.OPEN: Mode.PAUSED, Mode.PAUSED: Mode.PAUSED},
        "resume": {Mode.PAUSED: Mode.OPEN, Mode.OPEN: Mode.OPEN},
        "maintenance": dict.fromkeys(Mode, Mode.MAINTENANCE),
        "open": dict.fromkeys(Mode, Mode.OPEN),
    }
)
"""For each action of an operator, the mode before and the mode after it. A pair that is missing is
refused: a deploy script that pauses and resumes must not end the maintenance of somebody else."""


class ModeError(GatewayError):
    """The action of an operator does not fit the mode of the site."""

    status = 409


def after(action: str, mode: Mode) -> Mode:
    """Return the mode after an action; raises `ModeError`."""
    try:
        return CHANGES[action][mode]
    except KeyError:
        raise ModeError(f"the site is in {mode}; end that with “open” first") from None


class Gate:
    """The gate of one site. Used from the event loop only."""

    def __init__(self, mode: Mode = Mode.OPEN) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.mode = mode
        self.aside: str | None = None
        """Why the site is set aside, if it is."""
        self.wide_open = mode is Mode.OPEN
        """True if there is nothing to look at: most requests ask only this."""

    @property
    def waiting(self) -> int:
        """The number of requests that wait here."""
        return len(self._waiting)

    def set(self, mode: Mode) -> None:
        """Change the mode. Unless it is a pause, the requests that wait go on, in order."""
        self.mode = mode
        self._changed()

    def set_aside(self, reason: str | None) -> None:
        """Set the site aside, or let it in again (``None``). Requests that wait go on."""
        self.aside = reason
        self._changed()

    def _changed(self) -> None:
        self.wide_open = self.mode is Mode.OPEN and self.aside is None
        if self.mode is not Mode.PAUSED or self.aside is not None:
            while self._waiting:
                turn = self._waiting.popleft()
                if not turn.done():
                    turn.set_result(None)

    async def changed(self, client: Client, timeout: float) -> bool:
        """Wait for the end of a pause, and return true.

        Return false after ``timeout`` seconds, or if the client leaves.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        leaving = asyncio.create_task(client.left(), name="wait at the gate")
        either: set[asyncio.Future[None]] = {turn, leaving}
        try:
            await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            return turn.done()
        finally:
            if not turn.done():
                turn.cancel()
                self._waiting.remove(turn)
            leaving.cancel()
            await asyncio.wait({leaving})


class Client:
    """The client of a request that waits. It is read ahead, to learn whether it has left."""

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive = receive
        self._seen: deque[Message] = deque()

    async def left(self) -> None:
        """Wait until the client leaves. Only the first piece of a body is read meanwhile."""
        more = False
        while not more:
            message = await self._receive()
            self._seen.append(message)
            more = bool(message.get("more_body"))
            if message["type"] == "http.disconnect":
                self.gone = True
                return
        await asyncio.get_running_loop().create_future()

    async def receive(self) -> Message:
        """Return the next message (ASGI)."""
        return self._seen.popleft() if self._seen else await self._receive()


def own_page(folder: Path) -> str | None:
    """Return the maintenance page of a project; ``None`` if it has none that can be used.

    The file has to lie in the folder of the project, also when all links are followed. No code of
    the project runs.
    """
    try:
        folder = folder.resolve(strict=True)
        for name in OWN_PAGE:
            path = (folder / name).resolve()
            if path.is_relative_to(folder) and path.is_file():
                return read_file(path, _LARGEST_PAGE).decode()
    except (OSError, ValueError):
        return None
    return None
