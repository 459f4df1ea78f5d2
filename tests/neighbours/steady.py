"""What visitors do: those of the neighbour all the time, those of the hostile site once."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ..integration.servers import Gateway
from ..integration.sites import BuiltSite
from ..integration.visitors import Visitors
from ..integration.waiting import until

PROMPTLY: Final = 5.0
"""Seconds in which a page of a few bytes has to come, also on a machine that is busy."""
_PAUSE: Final = 0.05
_VISITORS: Final = 2
_ROUNDS: Final = 3


def ask(
    gateway: Gateway,
    site: BuiltSite,
    path: str = "/",
    *,
    timeout: float = PROMPTLY,
    headers: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Status and text of a page, on a connection of its own; raises what ``http.client`` does."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=timeout)
    try:
        told = {"Host": site.host, "Connection": "close", **(headers or {})}
        connection.request("GET", path, headers=told)
        with connection.getresponse() as answer:
            return answer.status, answer.read().decode()
    finally:
        connection.close()


def try_to_ask(
    gateway: Gateway, site: BuiltSite, path: str = "/", *, timeout: float = PROMPTLY
) -> int | None:
    """The status of a page, ``None`` if there is no answer."""
    try:
        return ask(gateway, site, path, timeout=timeout)[0]
    except (OSError, http.client.HTTPException):
        return None


def ask_at_once(
    gateway: Gateway, site: BuiltSite, paths: Iterable[str], *, timeout: float = PROMPTLY
) -> list[int | None]:
    """The status of several pages, all asked for at the same time."""
    paths = list(paths)
    with ThreadPoolExecutor(len(paths)) as visitors:
        asking = [
            visitors.submit(try_to_ask, gateway, site, path, timeout=timeout) for path in paths
        ]
        return [each.result() for each in asking]


def begin_to_read(gateway: Gateway, site: BuiltSite, path: str) -> socket.socket:
    """Ask for a page on a connection that holds little, and leave the answer there."""
    reader = socket.socket()
    reader.settimeout(PROMPTLY)
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", gateway.port))
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode())
    return reader


def meet(gateway: Gateway, meeting: BuiltSite, parties: int) -> None:
    """Have as many requests run at the same time; raises ``AssertionError`` if they never do.

    Threads may have something to end before, so there are a few rounds.
    """
    for number in range(_ROUNDS):
        met = ask_at_once(gateway, meeting, [f"/meet?round{number}={parties}"] * parties)
        if met == [200] * parties:
            return
    raise AssertionError(f"{parties} requests do not run at the same time: {met}")


class SteadyLoad(Visitors):
    """Visitors of one site, while inside ``with``: each looks at a page, rests and looks again.

    ``lost`` says what they did not get, ``answers`` counts what they got.
    """

    pause = _PAUSE
    visitors: Final = _VISITORS
    """How many requests are on their way at the same time, and what one worker's end may cost."""

    def __init__(self, gateway: Gateway, site: BuiltSite, path: str = "/") -> None:
        super().__init__(gateway, site, self.visitors)
        self._path = path

    def goes_on(self, answers: int = 20, *, forgiven: int = 0) -> None:
        """Wait for more answers; raises ``AssertionError`` if anything was lost before or is now.

        ``forgiven`` may be lost: what was in workers that were killed.
        """
        goal = self.answers + answers

        def decided() -> bool:
            return len(self.lost) > forgiven or self.answers >= goal

        until(decided, "the neighbour is answered or loses something")
        assert len(self.lost) <= forgiven, (
            f"the neighbour lost {len(self.lost)} answers, {self.answers} came: {self.lost[:5]}"
        )

    def _ask(self) -> None:
        status, text = ask(self._gateway, self._site, self._path)
        assert status == 200, f"{status}: {text[:200]}"
