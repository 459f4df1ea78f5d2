"""The kinds of hostility: each strikes again and again, at a pace of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from bench.everything.hostile import FAULTS, REQUEST_TIMEOUT, Hostile, hung
from tests.integration.actions import ask as send
from tests.integration.waiting import until
from tests.neighbours.steady import begin_to_read

_HANGING: Final = 80
"""More than one site may have places."""
_HOGS: Final = 80
_READERS: Final = 90
"""More than there are threads."""
_BACK: Final = 30.0
"""Seconds in which all workers are there again."""


@dataclass(frozen=True)
class Kind:
    """What strikes, how long it rests, and what has to come of it, or it was not shown.

    Of ``shown``, one outcome has to come.
    """

    strike: Callable[[Hostile], None]
    rest: float
    shown: frozenset[str]


def _hang(site: Hostile) -> None:
    """Requests hang; half of their clients leave."""
    with ExitStack() as staying, ExitStack() as leaving:
        for clients in (staying, leaving) * (_HANGING // 2):
            clients.enter_context(send(site.gateway, site.site.host, "GET /hang"))
        site.diary.note("hangs", f"{_HANGING} requests hang")
        site.rest(1)
        leaving.close()
        site.rest(REQUEST_TIMEOUT + 2)
        site.diary.came("hangs", "hung", hung(site.gateway.health()))
        site.rest(5)
    site.end_hangs()


def _loop(site: Hostile) -> None:
    """Two requests compute for ever."""
    with ExitStack() as clients:
        for _ in range(2):
            clients.enter_context(send(site.gateway, site.site.host, "GET /loop"))
        site.diary.note("loops", "2 requests compute")
        site.rest(6)
    site.end_loops()
    site.diary.came("loops", "ended", 2)


def _hog(site: Hostile) -> None:
    """Requests wait on all threads that the site can get."""
    site.diary.note("hogs", f"{_HOGS} clients wait")
    site.crowd("hogs", ["/doze"] * _HOGS, 6)


def _leave(site: Hostile) -> None:
    """The folder of the site leaves, and comes back."""
    folder = site.site.folder
    away = folder.with_name("away")
    with site.folder:
        site.diary.note("folders", "may not be entered")
        folder.chmod(0)
        try:
            site.crowd("folders", ["/"] * 5, 1)
        finally:
            folder.chmod(0o755)
    site.rest(1)
    with site.folder:
        site.diary.note("folders", "has another name")
        folder.rename(away)
        try:
            site.crowd("folders", ["/"] * 5, 1)
        finally:
            away.rename(folder)


def _raise(site: Hostile) -> None:
    """Exceptions whose text raises or takes long are raised by views."""
    for fault in FAULTS:
        site.diary.note("errors", fault)
        site.crowd("errors", [f"/fail?fault={fault}"] * 2, 0.1)


def _lose(site: Hostile) -> None:
    """The databases are lost: one is locked, the other one stopped."""
    site.diary.note("databases", "SQLite is locked")
    with site.locked():
        site.crowd("databases", ["/note"] * 20, 4)
    assert site.postgres is not None, "this kind needs PostgreSQL"
    site.crowd("databases", ["/query"] * 5, 1)
    site.diary.note("databases", "PostgreSQL is stopped")
    with site.postgres.gone():
        site.crowd("databases", ["/query"] * 20, 4)


def _read_slowly(site: Hostile) -> None:
    """Clients ask for a large file and do not read it, or very little of it."""
    with ExitStack() as readers:
        site.diary.note("readers", f"{_READERS} clients do not read")
        reading: list[socket.socket] = []
        for _ in range(_READERS):
            reader = begin_to_read(site.gateway, site.site, "/download")
            reading.append(readers.enter_context(reader))
        for _ in range(10):
            site.rest(1)
            for reader in reading[::3]:
                with suppress(OSError):
                    reader.recv(1024, socket.MSG_DONTWAIT)
        begun = 0
        for reader in reading:
            with suppress(OSError):
                begun += bool(reader.recv(1, socket.MSG_DONTWAIT))
        site.diary.came("readers", "begun", begun)


def _reload(site: Hostile) -> None:
    """Code that loads takes the place of other code, and code that does not load fails."""
    for code in ("", "", "raise Interrupting", "raise Slow", ""):
        site.write(code)
        site.diary.note("reloads", code or "good code")
        site.reload("reloads")
        site.rest(1)


def _end_in_view(way: str) -> Callable[[Hostile], None]:
    """A request ends its process."""

    def strike(site: Hostile) -> None:
        kind = f"{way}s"
        site.diary.note(kind, "in a view")
        if site.ask(kind, f"/end?way={way}") != "cut off":
            site.reload(kind)  # it is set aside, or failed, until somebody does this
            site.ask(kind, f"/end?way={way}")
        _come_back(site)

    return strike


def _end_at_import() -> Callable[[Hostile], None]:
    """Code that ends each process that imports it is deployed, and mended again."""
    ways = cycle(("exit", "segfault", "kill"))
    deploys = cycle((Hostile.reload, lambda site, kind: site.edit()))

    def strike(site: Hostile) -> None:
        way, deploy = next(ways), next(deploys)
        site.write(f'ends["{way}"]()')
        site.diary.note("imports", way)
        deploy(site, "imports")
        site.rest(6)
        site.write("")
        site.diary.note("imports", "is mended")
        site.reload("imports")
        _come_back(site)

    return strike


def _come_back(site: Hostile) -> None:
    with suppress(TimeoutError):
        until(
            lambda: len(site.gateway.workers()) == site.workers or site.enough.is_set(),
            "all workers are there",
            patience=_BACK,
        )


KINDS: Final = {
    "hangs": Kind(_hang, 5, frozenset({"hung"})),
    "hogs": Kind(_hog, 7, frozenset({"200"})),
    "folders": Kind(_leave, 4, frozenset({"500", "503"})),
    "errors": Kind(_raise, 2, frozenset({"500", "cut off"})),
    "databases": Kind(_lose, 5, frozenset({"500"})),
    "readers": Kind(_read_slowly, 6, frozenset({"begun"})),
    "reloads": Kind(_reload, 1, frozenset({"reload 200"})),
    "loops": Kind(_loop, 5, frozenset({"ended"})),
}
UNUSUAL: Final = frozenset({"loops"})
"""Kinds that have to be asked for."""
CRASHES: Final = {
    "exits": Kind(_end_in_view("exit"), 3, frozenset({"cut off"})),
    "segfaults": Kind(_end_in_view("segfault"), 3, frozenset({"cut off"})),
    "kills": Kind(_end_in_view("kill"), 3, frozenset({"cut off"})),
    "imports": Kind(_end_at_import(), 3, frozenset({"reload cut off", "reload 500"})),
}
