"""Sites that have done nothing, and their visitors, who come at fixed times whatever happens.

A visitor who waits for an answer before coming back would hardly meet a standstill: nobody would
ask meanwhile. So each moment at which somebody comes is fixed beforehand, and the milliseconds of
an answer count from that moment.
"""

from __future__ import annotations

import http.client
import math
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.integration.sites import BuiltSite, sample_site, tiny_site
from tests.neighbours.hostile import plain_site

PATIENCE: Final = 10.0
"""Seconds after which an answer counts as lost."""
_DOZES: Final = """
import time

def doze(environ):
    time.sleep(0.02)
    return "slept"
"""


NOBODY: Final = "nobody"
"""Who is asked for nothing: how late that is, is what the machine does and not the gateway."""


@dataclass(frozen=True)
class Neighbour:
    """A page that ``visitors`` ask for, each every ``period`` seconds."""

    name: str
    host: str
    path: str
    visitors: int
    period: float


@dataclass(frozen=True)
class Loss:
    """An answer that did not come; it was ``broken`` off if the connection ended before its end."""

    name: str
    at: float
    what: str
    broken: bool


@dataclass
class Answers:
    """What the visitors of all neighbours got; moments are those of ``time.monotonic``."""

    milliseconds: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    lost: list[Loss] = field(default_factory=list)

    def figures(self, name: str) -> Figures:
        """Those of one neighbour."""
        return Figures.of(
            [ms for _, ms in self.milliseconds[name]],
            sum(loss.name == name for loss in self.lost),
        )

    def slowest(self, count: int) -> list[tuple[float, float, str]]:
        """Moments of the slowest answers with their milliseconds and names, a second apart."""
        everything = [
            (ms, at, name)
            for name, seen in self.milliseconds.items()
            if name != NOBODY
            for at, ms in seen
        ]
        found: list[tuple[float, float, str]] = []
        for ms, at, name in sorted(everything, reverse=True):
            if all(abs(at - other) > 1 for other, _, _ in found):
                found.append((at, ms, name))
            if len(found) == count:
                break
        return found


@dataclass(frozen=True)
class Figures:
    """Answers, losses, and milliseconds, which are infinite where nothing was answered."""

    answers: int
    lost: int
    p50: float
    p99: float
    longest: float

    @staticmethod
    def of(milliseconds: Sequence[float], lost: int) -> Figures:
        """The figures of some answers; what was lost is the slowest of all."""
        seen = sorted(milliseconds) + [math.inf] * lost or [math.inf]
        p50, p99 = (seen[min(len(seen) - 1, int(len(seen) * part))] for part in (0.5, 0.99))
        return Figures(len(milliseconds), lost, p50, p99, seen[-1])


def make_neighbours(folder: Path) -> tuple[list[BuiltSite], list[Neighbour]]:
    """Sites of several kinds, and who looks at them, at the gateway's own page and at nothing."""
    page = tiny_site(folder, "page")
    shop = sample_site(folder, "shop")
    dozing = plain_site(folder, "dozing", _DOZES)
    return [page, shop, dozing], [
        Neighbour("a page", page.host, "/", 4, 0.05),
        Neighbour("the shop", shop.host, "/", 2, 0.1),
        Neighbour("one that waits", dozing.host, "/doze", 2, 0.1),
        Neighbour("/_health", "localhost", "/_health", 1, 0.1),
        Neighbour(NOBODY, "", "", 1, 0.02),
    ]


def visit(port: int, neighbours: Iterable[Neighbour], seconds: float) -> Answers:
    """Have everybody visit for so long. Meant for a process of its own, left alone by others."""
    answers = Answers()
    begin = time.monotonic()
    visitors = []
    for neighbour in neighbours:
        seen = answers.milliseconds[neighbour.name] = []
        for number in range(neighbour.visitors):
            first = begin + neighbour.period * number / neighbour.visitors
            count = int((seconds - (first - begin)) / neighbour.period)
            dues = [first + neighbour.period * n for n in range(count)]
            arguments = (port, neighbour, dues, seen, answers.lost)
            visitors.append(threading.Thread(target=_come, args=arguments))
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    return answers


def _come(
    port: int,
    neighbour: Neighbour,
    dues: list[float],
    seen: list[tuple[float, float]],
    lost: list[Loss],
) -> None:
    for due in dues:
        time.sleep(max(0.0, due - time.monotonic()))
        if time.monotonic() > dues[-1] + PATIENCE:
            lost.append(Loss(neighbour.name, due, "nobody came to ask", False))
            continue
        try:
            status = _ask(port, neighbour)
        except TimeoutError:
            lost.append(Loss(neighbour.name, time.monotonic(), "no answer in time", False))
        except (OSError, http.client.HTTPException) as error:
            broken = not isinstance(error, ConnectionRefusedError)
            lost.append(Loss(neighbour.name, time.monotonic(), repr(error), broken))
        else:
            now = time.monotonic()
            if status == 200:
                seen.append((now, (now - due) * 1000))
            else:
                lost.append(Loss(neighbour.name, now, f"status {status}", False))


def _ask(port: int, neighbour: Neighbour) -> int:
    """The status of the page, on a connection of its own: any worker may take it."""
    if neighbour.name == NOBODY:
        return 200
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        told = {"Host": neighbour.host, "Connection": "close"}
        connection.request("GET", neighbour.path, headers=told)
        with connection.getresponse() as answer:
            answer.read()
            return answer.status
    finally:
        connection.close()
