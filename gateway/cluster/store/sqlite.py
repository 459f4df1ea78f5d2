"""The store in a SQLite file, for the workers of one machine.

In WAL mode (https://www.sqlite.org/wal.html) all workers can read while one writes. If a process is
killed in the middle of a transaction, nothing of the transaction remains. Transactions are short,
so a worker rarely waits for the lock, and `Bounds.busy` seconds at most.
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

from gateway.cluster.store import UNKNOWN, End, Entry, Held, Order, StoreError, Worker
from gateway.cluster.store.sqlite_marks import SCHEMA as MARKS
from gateway.cluster.store.sqlite_marks import SqliteMarks
from gateway.disk.statefolder import StateFolder, store_name
from gateway.disk.trustedfolder import StateError

_CLAIM: Final = ""
"""The key, among the outcomes of an order, of the worker that has taken the order over."""
_HELD: Final = (
    "SELECT site, mode, modes.number, coalesce(asker, ?)"
    " FROM modes LEFT JOIN orders ON orders.number = modes.number"
)
_BESIDE: Final = ("-wal", "-shm", "-journal")
"""The endings of the names of SQLite's further files (https://www.sqlite.org/tempfiles.html)."""
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
    MARKS,
    """
    CREATE TABLE ends (
        number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, worker TEXT NOT NULL,
        how TEXT NOT NULL, site TEXT NOT NULL, generation INTEGER NOT NULL, counts INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE asides (site TEXT PRIMARY KEY, reason TEXT NOT NULL) STRICT, WITHOUT ROWID;
    """,
)
"""The steps from each version of the file to the next; a new file has version 0."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of a store: the time of a call, and the number of rows that the file keeps."""

    busy: float = 1.0
    """The most seconds that a call waits while another process writes."""
    history: int = 10_000
    """The most entries of the history, of all sites together."""
    orders: int = 200
    """The most orders, each with its outcomes."""
    ends: int = 100
    """The most ends of workers."""


BOUNDS: Final = Bounds()


def store_path(state_dir: Path, sites: Path) -> Path:
    """Return the path of the store of the gateway that serves the file ``sites``."""
    return state_dir / store_name(sites)


class SqliteStore:
    """A `Store` in the file ``path``, which is made if there is none.

    The folder of the file is a `StateFolder`, so the file may lie in another folder below it.
    """

    def __init__(self, path: Path, bounds: Bounds = BOUNDS) -> None:
        self._bounds = bounds
        self._name = path.name
        self._shown = str(path)
        self._version = -1
        with self._explained():
            # SQLite gives its further files the permissions of this file.
            self._folder = StateFolder(path.parent)
            file = self._folder.prepare(path.name, *(path.name + suffix for suffix in _BESIDE))
            self._shown, self._id = file.shown, file.id
            self._db = sqlite3.connect(
                file.path, timeout=bounds.busy, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained():
                self._begin_wal()
                # A power cut may lose the newest transactions, but never damages the file.
                self._db.execute("PRAGMA synchronous = NORMAL")
            self._prepare()
            self.marks = SqliteMarks(self._db, self._transaction)
            self.identity = str(self._rows("SELECT name FROM identity")[0][0])
        except BaseException:
            self.close()
            raise

    def changed(self) -> bool:
        """Tell whether somebody else may have written; it costs a few dozen system calls."""
        with self._explained():
            # Somebody may have removed the file. Then no other worker sees what is written to it.
            if self._folder.id_of_store(self._name) != self._id:
                raise StoreError(f"{self._shown} was removed or replaced")
        version = int(self._rows("PRAGMA data_version")[0][0])
        changed, self._version = version != self._version, version
        return changed

    def report(self, worker: Worker) -> None:
        """Replace the report of a worker."""
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
        """Return all workers that have reported and were not forgotten."""
        return [
            Worker(id, pid, place, born, seen, bool(ended), json.loads(health))
            for id, pid, place, born, seen, ended, health in self._rows(
                "SELECT id, pid, place, born, seen, ended, health FROM workers ORDER BY id"
            )
        ]

    def mark_ended(self, worker: Worker, culprit: str = "") -> bool:
        """See `Store`."""
        with self._transaction():
            marked = self._db.execute(
                "UPDATE workers SET ended = 1 WHERE id = ? AND seen = ? AND NOT ended",
                (worker.id, worker.seen),
            )
            first = marked.rowcount == 1
            if first and culprit:
                self.marks.clear(worker.id, culprit)
            return first

    def forget(self, before: float) -> None:
        """Remove the workers whose last report is older than ``before``.

        A worker stays while it has marks, so that whoever finds it dead knows of them.
        """
        with self._transaction():
            self._db.execute(
                "DELETE FROM workers WHERE seen < ?"
                " AND id NOT IN (SELECT worker FROM loads WHERE stage != 'up')",
                (before,),
            )
            self.marks.forget()

    def order(self, kind: str, details: Mapping[str, Any], worker: str, asker: str) -> int:
        """Add an order, return its number, and remove those before the newest `Bounds.orders`."""
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
        """Change the mode of a site, with an order and an entry, in one transaction."""
        with self._transaction():
            held = self._rows(f"{_HELD} WHERE site = ?", UNKNOWN, site)
            mode = change(Held(*held[0][1:]) if held else None)
            details = {"site": site, "mode": mode, "patience": patience}
            number = self._order("mode", details, worker, asker)
            self._db.execute("INSERT OR REPLACE INTO modes VALUES (?, ?, ?)", (site, mode, number))
            # The time is taken inside the transaction, so that times have the sequence of changes.
            self._note(Entry(time.time(), "mode", site, 0, mode, None, 0.0, asker, worker))
        return Held(mode, number, asker)

    def last_order(self) -> int:
        """Return the number of the newest order, 0 if there was none."""
        return int(self._rows("SELECT coalesce(max(number), 0) FROM orders")[0][0])

    def orders(self, after: int) -> list[Order]:
        """Return the orders with numbers above ``after``, in sequence."""
        return [
            Order(number, kind, json.loads(details), worker, asker)
            for number, kind, details, worker, asker in self._rows(
                "SELECT number, kind, details, worker, asker FROM orders"
                " WHERE number > ? ORDER BY number",
                after,
            )
        ]

    def settle(self, number: int, worker: str, outcome: Mapping[str, Any]) -> None:
        """Write the outcome of an order in one worker."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?)",
                (number, worker, json.dumps(outcome)),
            )

    def outcomes(self, number: int) -> dict[str, Mapping[str, Any]]:
        """Return the outcomes of an order that are known so far, by worker."""
        rows = self._rows(
            "SELECT worker, outcome FROM outcomes WHERE number = ? AND worker != ?", number, _CLAIM
        )
        return {worker: json.loads(outcome) for worker, outcome in rows}

    def claim(self, number: int, worker: str) -> bool:
        """Take over an order; return true for the first caller only."""
        with self._transaction():
            added = self._db.execute(
                "INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?)",
                (number, _CLAIM, json.dumps({"worker": worker})),
            )
            return added.rowcount == 1

    def modes(self, after: int = -1) -> dict[str, Held]:
        """Return the modes with numbers above ``after``, by site."""
        rows = self._rows(f"{_HELD} WHERE modes.number > ?", UNKNOWN, after)
        return {site: Held(*held) for site, *held in rows}

    def note_end(self, end: End, limit: int, since: float, reason: str) -> bool:
        """Add the end of a worker, and remove those before the newest `Bounds.ends`."""
        with self._transaction():
            number = self._db.execute(
                "INSERT INTO ends (at, worker, how, site, generation, counts)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                astuple(end),
            ).lastrowid
            assert number is not None
            self._db.execute("DELETE FROM ends WHERE number <= ?", (number - self._bounds.ends,))
            counted = self._rows(
                "SELECT count(*) FROM ends WHERE site = ? AND counts AND at >= ?", end.site, since
            )[0][0]
            if not (limit and end.counts and counted >= limit):
                return False
            added = self._db.execute(
                "INSERT OR IGNORE INTO asides VALUES (?, ?)", (end.site, reason)
            )
            if not added.rowcount:
                return False
            where = end.site, end.generation
            self._note(Entry(end.at, "aside", *where, "set aside", reason, 0.0, "", end.worker))
            return True

    def ends(self, since: float) -> list[End]:
        """Return the newest ends of workers, the newest first."""
        return [
            End(at, worker, how, site, generation, bool(counts))
            for at, worker, how, site, generation, counts in self._rows(
                "SELECT at, worker, how, site, generation, counts FROM ends WHERE at >= ?"
                " ORDER BY number DESC",
                since,
            )
        ]

    def asides(self) -> dict[str, str]:
        """Return the sites that are set aside."""
        return dict(self._rows("SELECT site, reason FROM asides"))

    def forgive(self, site: str, worker: str, asker: str) -> None:
        """See `Store`; nothing happens to a site that is not set aside."""
        with self._transaction():
            if self._db.execute("DELETE FROM asides WHERE site = ?", (site,)).rowcount:
                self._db.execute("UPDATE ends SET counts = 0 WHERE site = ?", (site,))
                entry = Entry(time.time(), "aside", site, 0, "let in", None, 0.0, asker, worker)
                self._note(entry)

    def note(self, entry: Entry) -> None:
        """Add an entry to the history, and remove those before the newest `Bounds.history`."""
        with self._transaction():
            self._note(entry)

    def note_news(self, entry: Entry, since: float) -> bool:
        """Add an entry unless the newest one of its event since then says the same."""
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
        """Return the newest entries, of one site or of all; the newest one is first."""
        columns = "at, event, site, generation, result, reason, duration_ms, asker, worker"
        where, values = ("", ()) if site is None else (" WHERE site = ?", (site,))
        rows = self._rows(
            f"SELECT {columns} FROM history{where} ORDER BY at DESC, id DESC LIMIT ?",
            *values,
            limit,
        )
        return [Entry(*row) for row in rows]

    def close(self) -> None:
        """Close the connection; never raises."""
        with suppress(sqlite3.Error):
            self._db.close()

    def _begin_wal(self) -> None:
        """Switch to WAL mode. If another process does the same, wait; SQLite itself does not."""
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
        """Make missing tables; if several workers start together, the first one does it."""
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
        # IMMEDIATE takes the lock at once. A transaction that reads first and then wants to write
        # could not wait for the lock.
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # After some errors, such as a full disk, SQLite has already rolled back.
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
