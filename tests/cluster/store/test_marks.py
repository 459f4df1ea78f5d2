"""Marks of loads: only what died alone is refused, and nobody waits for ever."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.cluster.store import Worker
from gateway.cluster.store import sqlite_marks as module
from gateway.cluster.store.marks import Answer, Mark, Outcome
from gateway.cluster.store.sqlite import SqliteStore

ONE, TWO, THREE = (
    Worker(name, 1, "here", "1", time.time(), False, {"status": "ok"})
    for name in ("one", "two", "three")
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "gateway.db")) as store:
        for worker in (ONE, TWO, THREE):
            store.report(worker)
        yield store


def mark(worker: Worker, site: str = "shop", code: str = "a", number: int = 1) -> Mark:
    return Mark(f"{worker.id} {site} {number}", site, code, worker.id, number)


def claim(store: SqliteStore, mark: Mark, *, alone: bool = False) -> Answer:
    answer, _ = store.marks.claim(mark, alone=alone)
    return answer


def begin(store: SqliteStore, mark: Mark, *, alone: bool = False) -> None:
    assert claim(store, mark, alone=alone) is Answer.GO
    store.marks.begin(mark.key)


def die(store: SqliteStore, worker: Worker, status: str = "ok", culprit: str = "") -> None:
    dead = replace(worker, health={"status": status})
    store.report(dead)
    assert store.mark_ended(dead, culprit)


def suspects(store: SqliteStore) -> list[tuple[str, bool]]:
    return [(suspect.site, suspect.alone) for suspect in store.marks.suspects()]


def test_code_that_is_up_nowhere_is_loaded_by_one_first(store: SqliteStore) -> None:
    begin(store, mark(ONE))
    assert claim(store, mark(TWO)) is Answer.WAIT
    assert claim(store, mark(TWO, "blog")) is Answer.GO
    store.marks.end(mark(ONE).key, Outcome.LOADED)
    begin(store, mark(TWO))
    assert claim(store, mark(THREE)) is Answer.GO
    # Other code of the site is another matter.
    store.marks.end(mark(TWO).key, Outcome.LOADED)
    store.marks.end(mark(THREE).key, Outcome.LOADED)
    begin(store, mark(ONE, code="b", number=2))
    assert claim(store, mark(TWO, code="b", number=2)) is Answer.WAIT


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.LEFT])
def test_after_a_load_that_did_not_come_up_the_next_one_tries(
    store: SqliteStore, outcome: Outcome
) -> None:
    begin(store, mark(ONE))
    store.marks.end(mark(ONE).key, outcome)
    begin(store, mark(TWO))
    assert claim(store, mark(THREE)) is Answer.WAIT


def test_what_was_up_in_workers_that_have_ended_is_tried_again(store: SqliteStore) -> None:
    begin(store, mark(ONE))
    store.marks.end(mark(ONE).key, Outcome.LOADED)
    die(store, ONE)
    begin(store, mark(TWO))
    assert claim(store, mark(THREE)) is Answer.WAIT


def test_loads_of_a_worker_that_died_are_tried_alone_and_one_at_a_time(store: SqliteStore) -> None:
    begin(store, mark(ONE, "shop"))
    begin(store, mark(ONE, "blog"))
    assert claim(store, mark(ONE, "wiki")) is Answer.GO  # it had not begun
    die(store, ONE)
    assert suspects(store) == [("blog", False), ("shop", False)]
    assert claim(store, mark(TWO)) is Answer.ALONE
    begin(store, mark(TWO), alone=True)
    assert claim(store, mark(THREE, "blog"), alone=True) is Answer.WAIT
    assert claim(store, mark(THREE, "wiki")) is Answer.GO
    store.marks.end(mark(TWO).key, Outcome.FAILED)
    assert suspects(store) == [("blog", False)]
    assert claim(store, mark(THREE, "blog"), alone=True) is Answer.GO


def test_what_died_alone_is_refused_until_it_changes_or_is_pardoned(store: SqliteStore) -> None:
    begin(store, mark(ONE))
    die(store, ONE)
    begin(store, mark(TWO), alone=True)
    die(store, TWO)
    answer, suspect = store.marks.claim(mark(THREE), alone=False)
    assert (answer, suspect and suspect.worker) == (Answer.NEVER, "two")
    assert claim(store, mark(THREE, code="b")) is Answer.GO
    store.marks.end(mark(THREE, code="b").key, Outcome.FAILED)
    assert claim(store, mark(THREE)) is Answer.NEVER, "the old code is back"
    store.marks.pardon(["blog"])
    assert claim(store, mark(THREE)) is Answer.NEVER
    store.marks.pardon(["shop"])
    assert claim(store, mark(THREE)) is Answer.ALONE
    begin(store, mark(THREE), alone=True)
    store.marks.end(mark(THREE).key, Outcome.LOADED)
    assert suspects(store) == []


def test_evidence_against_one_site_clears_the_loads_of_all_others(store: SqliteStore) -> None:
    begin(store, mark(ONE, "blog"))
    begin(store, mark(ONE, "shop"))
    begin(store, mark(TWO, "wiki"))
    die(store, ONE, culprit="shop")
    assert suspects(store) == [("shop", False)]
    assert claim(store, mark(THREE, "blog")) is Answer.GO
    assert claim(store, mark(THREE, "wiki")) is Answer.WAIT, "a worker that lives still loads it"
    # One that is a suspect already is not refused for the deed of another.
    die(store, TWO)
    begin(store, mark(THREE, "wiki"), alone=True)
    die(store, THREE, culprit="shop")
    assert suspects(store) == [("shop", False), ("wiki", False)]


@pytest.mark.parametrize("culprit", ["shop", ""])
def test_evidence_against_the_site_itself_or_nobody_clears_nothing(
    store: SqliteStore, culprit: str
) -> None:
    begin(store, mark(ONE))
    die(store, ONE, culprit=culprit)
    begin(store, mark(TWO), alone=True)
    die(store, TWO, culprit=culprit)
    assert suspects(store) == [("shop", True)]


def test_evidence_that_comes_after_the_suspicion_takes_it_back(store: SqliteStore) -> None:
    begin(store, mark(ONE, "shop"))
    die(store, ONE)
    begin(store, mark(TWO, "blog"))
    begin(store, mark(TWO, "shop"), alone=True)
    die(store, TWO)
    assert suspects(store) == [("blog", False), ("shop", True)]
    die(store, TWO, culprit="wiki")  # it was only silent for long, and has reported since
    assert suspects(store) == [("shop", False)]


def test_who_was_asked_to_stop_blames_nothing(store: SqliteStore) -> None:
    begin(store, mark(ONE))
    die(store, ONE)
    begin(store, mark(TWO), alone=True)
    die(store, TWO, status="stopping")
    assert suspects(store) == [("shop", False)]
    assert claim(store, mark(THREE), alone=True) is Answer.GO


def test_a_load_that_was_left_does_not_end_the_suspicion(store: SqliteStore) -> None:
    begin(store, mark(ONE))
    die(store, ONE)
    begin(store, mark(TWO), alone=True)
    store.marks.end(mark(TWO).key, Outcome.LEFT)
    assert claim(store, mark(THREE, number=2)) is Answer.ALONE
    assert claim(store, mark(THREE), alone=True) is Answer.GO
    store.marks.end(mark(THREE).key, Outcome.FAILED)  # before it began
    assert suspects(store) == [("shop", False)]


def test_a_worker_whose_death_nobody_noticed_is_not_forgotten(store: SqliteStore) -> None:
    begin(store, mark(ONE))
    store.forget(time.time() + 1)
    assert [worker.id for worker in store.workers()] == ["one"]
    die(store, ONE)
    assert suspects(store) == [("shop", False)]
    store.forget(time.time() + 1)
    assert store.workers() == []


def test_a_worker_that_never_reported_is_not_waited_for(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(store, mark(replace(ONE, id="unknown")))
    assert claim(store, mark(TWO)) is Answer.WAIT
    monkeypatch.setattr(module, "_REPORTED_WITHIN", -1.0)
    assert claim(store, mark(TWO)) is Answer.ALONE


SITES = st.sampled_from(["shop", "blog"])
NUMBERS = st.integers(0, 2)


class Workers(RuleBasedStateMachine):
    """Three workers that load two sites, and die: what is refused has died alone."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = SqliteStore(Path(self.folder.name) / "gateway.db")
        self.numbers = iter(range(10**6))
        self.loads: dict[str, dict[str, tuple[Mark, bool, bool]]] = {}
        """For each worker what it loads: the mark, whether alone and whether it has begun."""
        self.died_alone: set[tuple[str, str]] = set()
        self.workers = [self.start() for _ in range(3)]

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def start(self) -> Worker:
        worker = replace(ONE, id=f"w{next(self.numbers)}")
        self.store.report(worker)
        self.loads[worker.id] = {}
        return worker

    @rule(number=NUMBERS, site=SITES, code=st.sampled_from("ab"))
    def load(self, number: int, site: str, code: str) -> None:
        worker = self.workers[number]
        mine = self.loads[worker.id]
        if site in mine or any(alone for _, alone, _ in mine.values()):
            return
        mark = Mark(f"{next(self.numbers)}", site, code, worker.id, 1)
        answer, suspect = self.store.marks.claim(mark, alone=False)
        if answer is Answer.ALONE and not mine:
            answer, suspect = self.store.marks.claim(mark, alone=True)
        if answer is Answer.NEVER:
            assert (site, code) in self.died_alone
        if answer is Answer.GO:
            if suspect is not None:
                assert not mine
                assert not any(a for o in self.loads.values() for _, a, _ in o.values())
            mine[site] = (mark, suspect is not None, False)

    @rule(number=NUMBERS, site=SITES)
    def begin(self, number: int, site: str) -> None:
        mine = self.loads[self.workers[number].id]
        if site in mine:
            self.store.marks.begin(mine[site][0].key)
            mine[site] = (*mine[site][:2], True)

    @rule(number=NUMBERS, site=SITES, outcome=st.sampled_from(Outcome))
    def end(self, number: int, site: str, outcome: Outcome) -> None:
        mine = self.loads[self.workers[number].id]
        if site in mine:
            mark, _, begun = mine.pop(site)
            self.store.marks.end(mark.key, outcome)
            if begun and outcome is not Outcome.LEFT:
                self.died_alone.discard((mark.site, mark.code))

    @rule(number=NUMBERS, stopping=st.booleans())
    def die(self, number: int, stopping: bool) -> None:
        worker = self.workers[number]
        die(self.store, worker, "stopping" if stopping else "ok")
        for mark, alone, begun in self.loads.pop(worker.id).values():
            if alone and begun and not stopping:
                self.died_alone.add((mark.site, mark.code))
        self.workers[number] = self.start()

    @rule(site=SITES)
    def pardon(self, site: str) -> None:
        self.store.marks.pardon([site])
        self.died_alone = {(name, code) for name, code in self.died_alone if name != site}

    @precondition(lambda self: not any(self.loads.values()))
    @rule(number=NUMBERS, site=SITES, code=st.sampled_from("ab"))
    def a_quiet_gateway_makes_nobody_wait(self, number: int, site: str, code: str) -> None:
        mark = Mark(f"{next(self.numbers)}", site, code, self.workers[number].id, 1)
        answer, _ = self.store.marks.claim(mark, alone=True)
        assert answer in {Answer.GO, Answer.NEVER}
        self.store.marks.end(mark.key, Outcome.LEFT)

    @invariant()
    def what_is_refused_died_alone(self) -> None:
        refused = {(s.site, s.code) for s in self.store.marks.suspects() if s.alone}
        assert refused <= self.died_alone


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
