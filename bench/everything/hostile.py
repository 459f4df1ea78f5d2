"""The site that does everything no site should, and what it is asked for."""

from __future__ import annotations

import http.client
import json
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from tests.integration.actions import reload
from tests.integration.services import PostgreSQL
from tests.integration.sites import BuiltSite
from tests.neighbours.gateways import DoomedGateway
from tests.neighbours.hostile import append, database_site
from tests.neighbours.steady import ask

REQUEST_TIMEOUT: Final = 5
LARGE: Final = 16 << 20
"""Bytes of a file: more than sockets on this machine hold."""
_CHANCES: Final = 40.0
"""Seconds in which an answer has to come: longer than a request waits for its turn."""
_PAUSE: Final = 0.1
_MOMENT: Final = 0.5
"""Seconds in which all who wait for it see that they may end."""

_FAULTS: Final = """
import time

class Interrupting(Exception):
    def __str__(self):
        raise KeyboardInterrupt

class Exiting(BaseException):
    def __str__(self):
        raise SystemExit(3)

class Endless(BaseException):
    def __str__(self):
        return str(self)

class Slow(BaseException):
    def __str__(self):
        time.sleep(2)
        return "at last"
"""
FAULTS: Final = ("Interrupting", "Exiting", "Endless", "Slow")

_VIEWS: Final = (
    _FAULTS
    + '''
import ctypes
import signal
from django.db import connection, connections
from django.http import FileResponse

def hang(request):
    """Until somebody opens the other end of the pipe, and closes it."""
    with open(os.environ["PIPE"]) as pipe:
        return HttpResponse(pipe.read())

def loop(request):
    while not os.path.exists(os.environ["ENOUGH"]):
        for _ in range(1_000_000):
            pass
    return HttpResponse("at last")

def doze(request):
    time.sleep(1)
    return HttpResponse("slept")

def fail(request):
    raise globals()[request.GET["fault"]]

def query(request):
    with connections["far"].cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("found")

def note(request):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO notes VALUES (1)")
    return HttpResponse("noted")

def download(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return FileResponse(open(os.environ["LARGE"], "rb"))

def end(request):
    ends[request.GET["way"]]()

ends = {
    "exit": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}
'''
)
_PAGES: Final = ("hang", "loop", "doze", "fail", "query", "note", "download", "end")
WARMING: Final = ("/query", "/note")
"""Pages that load the libraries of its databases."""
_FAR: Final = """
import os
import dj_database_url

DATABASES["far"] = dj_database_url.parse(os.environ["FAR"])
"""


@dataclass
class Diary:
    """What was done to the site and when, and what came of it, by kind. For any thread."""

    done: list[tuple[float, str, str]] = field(default_factory=list)
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def note(self, kind: str, what: str) -> None:
        """Something is done now."""
        self.done.append((time.monotonic(), kind, what))

    def came(self, kind: str, outcome: str, times: int = 1) -> None:
        """Something came of it."""
        with self._lock:
            self.outcomes.setdefault(kind, Counter())[outcome] += times

    def before(self, moment: float, seconds: float) -> list[str]:
        """What was done within so many seconds before a moment."""
        return [
            f"{kind}: {what} ({moment - at:.1f} s before)"
            for at, kind, what in self.done
            if 0 <= moment - at <= seconds
        ]


class Hostile:
    """The site in the hands of those who trouble it, until there was ``enough``."""

    def __init__(
        self,
        gateway: DoomedGateway,
        site: BuiltSite,
        postgres: PostgreSQL | None,
        workers: int,
    ) -> None:
        self.gateway = gateway
        self.site = site
        self.postgres = postgres
        self.workers = workers
        self.diary = Diary()
        self.enough = threading.Event()
        # Its folder is where it belongs, and its files are not changed by anybody else.
        self.folder = threading.Lock()
        self._good = (site.folder / "core/views.py").read_text()
        self._releases = 0

    def ask(self, kind: str, path: str, timeout: float = _CHANCES) -> str:
        """Ask for a page once; tell and note what came: a status, ``cut off`` or ``late``."""
        try:
            outcome = str(ask(self.gateway, self.site, path, timeout=timeout)[0])
        except TimeoutError:
            outcome = "late"
        except (OSError, http.client.HTTPException):
            outcome = "cut off"
        self.diary.came(kind, outcome)
        return outcome

    def crowd(self, kind: str, paths: list[str], seconds: float) -> None:
        """A client for each path asks again and again for so long."""
        until = time.monotonic() + seconds

        def come(path: str) -> None:
            while time.monotonic() < until and not self.enough.is_set():
                self.ask(kind, path)
                self.enough.wait(_PAUSE)

        clients = [threading.Thread(target=come, args=(path,)) for path in paths]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    def rest(self, seconds: float) -> None:
        """Wait for so long, or until there was enough."""
        self.enough.wait(seconds)

    def write(self, code: str) -> None:
        """Put new code in its place: the good code, and more at its end."""
        self._releases += 1
        with self.folder:
            text = f'{self._good}\nRELEASE = "{self._releases}"\n{code}\n'
            (self.site.folder / "core/views.py").write_text(text)

    def reload(self, kind: str) -> str:
        """Reload it; tell and note what came."""
        try:
            outcome = str(reload(self.gateway, self.site).status_code)
        except httpx.TransportError:
            outcome = "cut off"
        self.diary.came(kind, f"reload {outcome}")
        return outcome

    def edit(self) -> None:
        """Change its entry in ``sites.json``."""
        env = {**self.site.entry["env"], "EDITED": str(time.monotonic())}
        entry = {**self.site.entry, "env": env}
        self.gateway.write_sites({**self.gateway.sites, self.site.name: entry})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While inside ``with``, nobody else can write to its SQLite database."""
        connection = sqlite3.connect(self._file("sqlite3"), isolation_level=None, timeout=30)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")
        finally:
            connection.close()

    def end_hangs(self) -> None:
        """End the requests that hang."""
        # For both reading and writing this end can always be opened; see fifo(7).
        pipe = os.open(self._file("pipe"), os.O_RDWR)
        time.sleep(_MOMENT)
        os.close(pipe)

    def end_loops(self) -> None:
        """End the requests that compute."""
        enough = self._file("enough")
        enough.touch()
        time.sleep(_MOMENT)
        enough.unlink()

    def _file(self, kind: str) -> Path:
        return self.site.folder.with_name(f"{self.site.name}.{kind}")


def hostile_site(folder: Path, database: str) -> BuiltSite:
    """A Django project with two databases; ``database`` is the URL of the far one."""
    files = {name: folder / f"hostile.{name.lower()}" for name in ("PIPE", "ENOUGH", "LARGE")}
    os.mkfifo(files["PIPE"])
    with files["LARGE"].open("wb") as large:
        large.truncate(LARGE)
    site = database_site(
        folder, "hostile", _VIEWS, _PAGES, request_timeout=REQUEST_TIMEOUT, drain_timeout=2
    )
    append(site, "core/settings.py", _FAR)
    with sqlite3.connect(folder / "hostile.sqlite3") as connection:
        connection.execute("CREATE TABLE notes (number)")
    connection.close()
    env = {name: str(file) for name, file in files.items()}
    entry: dict[str, Any] = {**site.entry, "env": {**site.entry["env"], **env, "FAR": database}}
    return BuiltSite(site.name, entry)


def hung(health: dict[str, Any]) -> int:
    """How many requests hang, in all workers."""
    return json.dumps(health).count('"stack"')
