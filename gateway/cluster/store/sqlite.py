"""The store in a SQLite file, for the workers of one machine.

WAL mode (https://www.sqlite.org/wal.html) lets everybody read while one writes, and a process that
is killed in the middle of a transaction leaves nothing of it. Transactions are short, so that
waiting for the lock, `Bounds.busy` seconds at most, is rare.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

from gateway.cluster.store import Entry, Held, Order, StoreError, Worker
from gateway.disk.statefolder import StateError, StateFolder, store_name

_CLAIM: Final = ""
"""Stands among the outcomes of an order for the worker that has taken it over."""
_BESIDE: Final = ("-wal", "-shm", "-journal")
"""What SQLite appends to the name of the file (https://www.sqlite.org/tempfiles.html)."""
_SCHEMA: Final = (
    """
    CREATE TABLE identity (name TEXT NOT NULL) STRICT;
    CREATE TABLE workers (
        id TEXT PRIMARY KEY, pid INTEGER NOT NULL, place TEXT NOT NULL, born TEXT NOT NULL,
        seen REAL NOT NULL, ended INTEGER NOT NULL, health TEXT NOT NULL
    ) STRICT;
    CREATE TABLE orders (
        number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, details TEXT NOT NULL,
        worker TEXT NOT NULL, asker TEXT NOT NULL
    ) STRICT;
    CREATE TABLE outcomes (
        number INTEGER NOT NULL, worker TEXT NOT NULL, outcome TEXT NOT NULL,
        PRIMARY KEY (number, worker)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE modes (site TEXT PRIMARY KEY, mode TEXT NOT NULL) STRICT;
    CREATE TABLE history (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, event TEXT NOT NULL,
        site TEXT NOT NULL, generation INTEGER NOT NULL, result TEXT NOT NULL, reason TEXT,
        duration_ms REAL NOT NULL, asker TEXT NOT NULL, worker TEXT NOT NULL
    ) STRICT;
    CREATE INDEX history_by_site ON history (site, id);
    """,
    """
    ALTER TABLE modes ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX modes_by_number ON modes (number);
    """,
)
"""What brings the file from one version to the next; a new one has version 0."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a call may take, and how much the file keeps."""

    busy: float = 1.0
    """Seconds that a call waits while another process writes."""
    history: int = 10_000
    """Entries of the history, of all sites together."""
    orders: int = 200
    """Orders, with what became of them."""


BOUNDS: Final = Bounds()


def store_path(state_dir: Path, sites: Path) -> Path:
    """The file of the gateway that serves ``sites``, in its state folder or in the one below."""
    return state_dir / store_name(sites)


class SqliteStore:
    """A `Store` in the file ``path``, which is made if there is none.

    The folder that it is in is a `StateFolder`.
    """

    def __init__(self, path: Path, bounds: Bounds = BOUNDS) -> None:
        self._bounds = bounds
        self._name = path.name
        self._shown = str(path)
        self._version = -1
        with self._explained():
            # SQLite gives the files that it makes itself the permissions of this one.
            self._folder = StateFolder(path.parent)
            file = self._folder.prepare(path.name, *(path.name + suffix for suffix in _BESIDE))
            self._shown, self._id = file.shown, file.id
            self._db = sqlite3.connect(
                file.path, timeout=bounds.busy, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained():
                self._begin_wal()
                # A power cut may cost the newest transactions, and never the file.
                self._db.execute("PRAGMA synchronous = NORMAL")
            self._prepare()
            self.identity = str(self._rows("SELECT name FROM identity")[0][0])
        except BaseException:
            self.close()
            raise

    def changed(self) -> bool:
        """See `Store`. A few dozen system calls and a look at shared memory."""
        with self._explained():
            # Somebody may have removed the file; what was written to the old one is seen by none.
            if self._folder.id_of_store(self._name) != self._id:
                raise StoreError(f"{self._shown} was removed or replaced")
        version = int(self._rows("PRAGMA data_version")[0][0])
        changed, self._version = version != self._version, version
        return changed

    def report(self, worker: Worker) -> None:
        """See `Store`."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    worker.id,
                    worker.pid,
                    worker.place,
                    worker.born,
                    worker.seen,
                    worker.ended,
                    json.dumps(worker.health),
                ),
            )

    def workers(self) -> list[Worker]:
        """See `Store`."""
        return [
            Worker(id, pid, place, born, seen, bool(ended), json.loads(health))
            for id, pid, place, born, seen, ended, health in self._rows(
                "SELECT id, pid, place, born, seen, ended, health FROM workers ORDER BY id"
            )
        ]

    def forget(self, before: float) -> None:
        """See `Store`."""
        with self._transaction():
            self._db.execute("DELETE FROM workers WHERE seen < ?", (before,))

    def order(self, kind: str, details: Mapping[str, Any], worker: str, asker: str) -> int:
        """See `Store`."""
        with self._transaction():
            return self._order(kind, details, worker, asker)

    def change_mode(
        self,
        site: str,
        change: Callable[[Held | None], str],
        worker: str,
        asker: str,
        patience: float,
    ) -> Held:
        """See `Store`."""
        with self._transaction():
            held = self._rows("SELECT mode, number FROM modes WHERE site = ?", site)
            mode = change(Held(*held[0]) if held else None)
            details = {"site": site, "mode": mode, "patience": patience}
            number = self._order("mode", details, worker, asker)
            self._db.execute("INSERT OR REPLACE INTO modes VALUES (?, ?, ?)", (site, mode, number))
            # The time is taken here, where changes have their sequence.
            self._note(Entry(time.time(), "mode", site, 0, mode, None, 0.0, asker, worker))
        return Held(mode, number)

    def last_order(self) -> int:
        """See `Store`."""
        return int(self._rows("SELECT coalesce(max(number), 0) FROM orders")[0][0])

    def orders(self, after: int) -> list[Order]:
        """See `Store`."""
        return [
            Order(number, kind, json.loads(details), worker, asker)
            for number, kind, details, worker, asker in self._rows(
                "SELECT number, kind, details, worker, asker FROM orders"
                " WHERE number > ? ORDER BY number",
                after,
            )
        ]

    def settle(self, number: int, worker: str, outcome: Mapping[str, Any]) -> None:
        """See `Store`."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?)",
                (number, worker, json.dumps(outcome)),
            )

    def outcomes(self, number: int) -> dict[str, Mapping[str, Any]]:
        """See `Store`."""
        rows = self._rows(
            "SELECT worker, outcome FROM outcomes WHERE number = ? AND worker != ?", number, _CLAIM
        )
        return {worker: json.loads(outcome) for worker, outcome in rows}

    def claim(self, number: int, worker: str) -> bool:
        """See `Store`."""
        with self._transaction():
            added = self._db.execute(
                "INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?)",
                (number, _CLAIM, json.dumps({"worker": worker})),
            )
            return added.rowcount == 1

    def modes(self, after: int = -1) -> dict[str, Held]:
        """See `Store`."""
        rows = self._rows("SELECT site, mode, number FROM modes WHERE number > ?", after)
        return {site: Held(mode, number) for site, mode, number in rows}

    def note(self, entry: Entry) -> None:
        """See `Store`."""
        with self._transaction():
            self._note(entry)

    def note_news(self, entry: Entry, since: float) -> bool:
        """See `Store`."""
        with self._transaction():
            newest = self._db.execute(
                "SELECT result, reason FROM history WHERE event = ? AND at >= ?"
                " ORDER BY id DESC LIMIT 1",
                (entry.event, since),
            ).fetchone()
            news: bool = newest != (entry.result, entry.reason)
            if news:
                self._note(entry)
        return news

    def history(self, site: str | None, limit: int) -> list[Entry]:
        """See `Store`."""
        columns = "at, event, site, generation, result, reason, duration_ms, asker, worker"
        where, values = ("", ()) if site is None else (" WHERE site = ?", (site,))
        rows = self._rows(
            f"SELECT {columns} FROM history{where} ORDER BY at DESC, id DESC LIMIT ?",
            *values,
            limit,
        )
        return [Entry(*row) for row in rows]

    def close(self) -> None:
        """See `Store`."""
        with suppress(sqlite3.Error):
            self._db.close()

    def _begin_wal(self) -> None:
        """Switch to WAL mode; SQLite does not wait by itself for others that do the same."""
        until = time.monotonic() + self._bounds.busy
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def _prepare(self) -> None:
        """Make the tables, once; of several workers that start together, the first one does."""
        with self._transaction():
            version = int(self._rows("PRAGMA user_version")[0][0])
            if version > len(_SCHEMA):
                raise StoreError(f"{self._shown} is of a newer gateway (version {version})")
            for step in _SCHEMA[version:]:
                for statement in filter(str.strip, step.split(";")):
                    self._db.execute(statement)
            if version == 0:
                self._db.execute("INSERT INTO identity VALUES (?)", (secrets.token_hex(8),))
            if version < len(_SCHEMA):
                self._db.execute(f"PRAGMA user_version = {len(_SCHEMA)}")

    def _order(self, kind: str, details: Mapping[str, Any], worker: str, asker: str) -> int:
        number = self._db.execute(
            "INSERT INTO orders (kind, details, worker, asker) VALUES (?, ?, ?, ?)",
            (kind, json.dumps(details), worker, asker),
        ).lastrowid
        assert number is not None
        oldest = number - self._bounds.orders
        self._db.execute("DELETE FROM orders WHERE number <= ?", (oldest,))
        self._db.execute("DELETE FROM outcomes WHERE number <= ?", (oldest,))
        return number

    def _note(self, entry: Entry) -> None:
        newest = self._db.execute(
            "INSERT INTO history (at, event, site, generation, result, reason, duration_ms,"
            " asker, worker) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            astuple(entry),
        ).lastrowid
        assert newest is not None
        oldest = newest - self._bounds.history
        self._db.execute("DELETE FROM history WHERE id <= ?", (oldest,))

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._explained():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE: a transaction that starts by reading and then writes could not wait its turn.
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors, a full disk among them.
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            damaged = code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
            remedy = "; stop the gateway and remove it, and a new one is made" if damaged else ""
            raise StoreError(f"{self._shown}: {error}{remedy}") from None
        except StateError as error:
            raise StoreError(str(error)) from None
        except OSError as error:
            raise StoreError(f"{self._shown}: {error.strerror}") from None
