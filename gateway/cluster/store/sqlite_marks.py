"""The marks of loads in the SQLite file of the store."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final

from gateway.cluster.store import STOPPING
from gateway.cluster.store.marks import Answer, Mark, Outcome, Suspect, Verdict

SCHEMA: Final = """
    CREATE TABLE loads (
        key TEXT PRIMARY KEY, site TEXT NOT NULL, code TEXT NOT NULL, worker TEXT NOT NULL,
        generation INTEGER NOT NULL, at REAL NOT NULL, alone INTEGER NOT NULL, stage TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX loads_by_site ON loads (site);
    CREATE INDEX loads_under_way ON loads (worker) WHERE stage != 'up';
    CREATE TABLE suspects (
        site TEXT PRIMARY KEY, code TEXT NOT NULL, worker TEXT NOT NULL,
        generation INTEGER NOT NULL, alone INTEGER NOT NULL
    ) STRICT;
"""
"""A load is ``claimed``, has ``begun``, or is ``up``. For each worker and site, the last that came
up stays until the store forgets the worker."""
_REPORTED_WITHIN: Final = 15.0
"""Seconds after which a worker that has marks and has never reported counts as dead."""
_SUSPECTS: Final = "SELECT site, code, worker, generation, alone FROM suspects"


class SqliteMarks:
    """`Marks` in the tables ``loads`` and ``suspects``, inside transactions of the store."""

    def __init__(
        self, db: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._db = db
        self._transaction = transaction

    def claim(self, mark: Mark, *, alone: bool) -> Verdict:
        """See `Marks`."""
        with self._transaction():
            self._settle()
            suspect = self._suspect(mark.site)
            if suspect is not None and suspect.code != mark.code:
                suspect = None
            if suspect is not None and suspect.alone:
                return Verdict(Answer.NEVER, suspect)
            if suspect is not None and not alone:
                return Verdict(Answer.ALONE, suspect)
            alone = suspect is not None
            if (alone or not self._is_up(mark)) and self._in_the_way(mark, alone):
                return Verdict(Answer.WAIT, suspect)
            self._db.execute(
                "INSERT INTO loads VALUES (?, ?, ?, ?, ?, ?, ?, 'claimed')",
                (
                    mark.key,
                    mark.site,
                    mark.code,
                    mark.worker,
                    mark.generation,
                    time.time(),
                    alone,
                ),
            )
            return Verdict(Answer.GO, suspect)

    def begin(self, key: str) -> None:
        """See `Marks`."""
        with self._transaction():
            self._db.execute("UPDATE loads SET stage = 'begun' WHERE key = ?", (key,))

    def end(self, key: str, outcome: Outcome) -> None:
        """See `Marks`."""
        with self._transaction():
            row = self._db.execute(
                "SELECT site, code, worker, stage FROM loads WHERE key = ?", (key,)
            ).fetchone()
            if row is None:
                return
            site, code, worker, stage = row
            if stage == "begun" and outcome is not Outcome.LEFT:
                self._db.execute("DELETE FROM suspects WHERE site = ? AND code = ?", (site, code))
            if outcome is Outcome.LOADED:
                self._db.execute(
                    "DELETE FROM loads WHERE site = ? AND worker = ? AND stage = 'up'",
                    (site, worker),
                )
                self._db.execute("UPDATE loads SET stage = 'up' WHERE key = ?", (key,))
            else:
                self._db.execute("DELETE FROM loads WHERE key = ?", (key,))

    def suspects(self) -> list[Suspect]:
        """See `Marks`."""
        with self._transaction():
            self._settle()
            return [_suspect(*row) for row in self._db.execute(f"{_SUSPECTS} ORDER BY site")]

    def pardon(self, sites: Iterable[str]) -> None:
        """See `Marks`."""
        with self._transaction():
            self._db.executemany(
                "UPDATE suspects SET alone = 0 WHERE site = ?", [(site,) for site in sites]
            )

    def forget(self) -> None:
        """Remove what was up in workers that the store has forgotten. Inside a transaction."""
        self._db.execute(
            "DELETE FROM loads WHERE stage = 'up' AND worker NOT IN (SELECT id FROM workers)"
        )

    def clear(self, worker: str, culprit: str) -> None:
        """Hold the death of a worker against no other site's load. Inside a transaction.

        What that death has already done is taken back: only a suspect is loaded alone, so one that
        died alone is a suspect as before, and any other is none.
        """
        for statement in (
            "DELETE FROM loads WHERE worker = ? AND site != ? AND stage != 'up'",
            "DELETE FROM suspects WHERE worker = ? AND site != ? AND NOT alone",
            "UPDATE suspects SET alone = 0 WHERE worker = ? AND site != ?",
        ):
            self._db.execute(statement, (worker, culprit))

    def _settle(self) -> None:
        """Make suspects of the loads that were under way in workers that have died."""
        dead = self._db.execute(
            "SELECT key, site, code, worker, generation, alone, stage, health FROM loads"
            " LEFT JOIN workers ON workers.id = worker WHERE stage != 'up'"
            " AND (ended OR (workers.id IS NULL AND at NOT BETWEEN ? AND ?))",
            ((now := time.time()) - _REPORTED_WITHIN, now + _REPORTED_WITHIN),
        ).fetchall()
        for key, site, code, worker, generation, alone, stage, health in dead:
            stopping = health is not None and json.loads(health).get("status") == STOPPING
            if stage == "begun" and not stopping:
                self._accuse(Suspect(site, code, worker, generation, bool(alone)))
            self._db.execute("DELETE FROM loads WHERE key = ?", (key,))

    def _accuse(self, suspect: Suspect) -> None:
        known = self._suspect(suspect.site)
        if known is not None and known.code == suspect.code:
            suspect = replace(suspect, alone=suspect.alone or known.alone)
        self._db.execute(
            "INSERT OR REPLACE INTO suspects VALUES (?, ?, ?, ?, ?)",
            (suspect.site, suspect.code, suspect.worker, suspect.generation, suspect.alone),
        )

    def _suspect(self, site: str) -> Suspect | None:
        row = self._db.execute(f"{_SUSPECTS} WHERE site = ?", (site,)).fetchone()
        return _suspect(*row) if row else None

    def _is_up(self, mark: Mark) -> bool:
        """Tell whether a running worker has had this code up."""
        found = self._db.execute(
            "SELECT 1 FROM loads JOIN workers ON workers.id = worker"
            " WHERE site = ? AND code = ? AND stage = 'up' AND NOT ended LIMIT 1",
            (mark.site, mark.code),
        )
        return found.fetchone() is not None

    def _in_the_way(self, mark: Mark, alone: bool) -> bool:
        """Tell whether another worker is loading the site, or something else alone."""
        found = self._db.execute(
            "SELECT 1 FROM loads WHERE stage != 'up' AND worker != ?"
            " AND (site = ? OR (alone AND ?)) LIMIT 1",
            (mark.worker, mark.site, alone),
        )
        return found.fetchone() is not None


def _suspect(site: str, code: str, worker: str, generation: int, alone: int) -> Suspect:
    return Suspect(site, code, worker, generation, bool(alone))
