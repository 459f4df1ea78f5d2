"""A run: a gateway with its sites, the visitors of the neighbours, and the phases."""

from __future__ import annotations

import argparse
import multiprocessing
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Final

from bench.everything.held import (
    PARTIES,
    REST,
    Held,
    answer_again,
    kept,
    pids_of,
    places_kept,
)
from bench.everything.hostile import WARMING, Hostile, hostile_site
from bench.everything.kinds import Kind
from bench.everything.neighbours import Answers, Figures, make_neighbours, visit
from bench.everything.verdicts import judge_losses, judge_shown, judge_times
from tests.integration.services import postgresql
from tests.neighbours.gateways import DoomedGateway, Start
from tests.neighbours.hostile import meeting_site
from tests.neighbours.steady import try_to_ask

_WARM: Final = 3.0
"""Seconds of the same load before anything is measured."""
_ROUNDS: Final = 20
"""Times that each site is asked for first, so that each worker loads it."""

_APART: Final = 0.7
"""Seconds between the beginnings of two kinds: what hangs has to begin before its folder leaves."""


@dataclass
class Phase:
    """What became of a phase that began at that moment of ``time.monotonic``."""

    begin: float
    site: Hostile
    answers: Answers
    deaths: list[float]
    held: Held
    missed: list[str] = field(default_factory=list)


class Course:
    """A run: a gateway with its sites, the visitors of the neighbours, and the phases."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self.seconds: float = options.seconds
        self.workers: int = options.workers
        self.folder = folder
        wanted = set(options.only)
        self.postgres = stack.enter_context(postgresql()) if "databases" in wanted else None
        database = self.postgres.create_database("hostile") if self.postgres else "sqlite://"
        sites, self.neighbours = make_neighbours(folder)
        self.hostile = hostile_site(folder, database)
        self.meeting = meeting_site(folder, concurrency=PARTIES)
        self.sites = [*sites, self.hostile, self.meeting]
        spawn = multiprocessing.get_context("spawn")
        self._visitors = stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn))
        self.gateway: DoomedGateway = Start(folder, stack)(
            *self.sites,
            workers=None if self.workers == 1 else self.workers,
            bounded=True,
            environ={"GATEWAY_LOAD_RETRY": "5"},
        )

    def run(self, kinds: Mapping[str, Kind], crashes: Mapping[str, Kind]) -> dict[str, Phase]:
        """Run the phases that there are, and judge them."""
        self._warm_up()
        phases = {"quiet": self._phase([])}
        quiet = phases["quiet"].answers
        phases["quiet"].missed += judge_losses(quiet.lost)
        time.sleep(REST)
        before = phases["quiet"].held = self._held()
        if kinds:
            phase = phases["hostile"] = self._phase([{name: kinds[name]} for name in kinds])
            phase.missed += judge_times(self.figures(quiet), self.figures(phase.answers))
            phase.missed += judge_losses(phase.answers.lost)
            phase.missed += [f"a worker ended {len(phase.deaths)} times"] if phase.deaths else []
            self._end(phase, kinds, before)
        if crashes:
            phase = phases["crashes"] = self._phase([crashes])
            visitors = sum(neighbour.visitors for neighbour in self.neighbours)
            phase.missed += judge_losses(phase.answers.lost, phase.deaths, visitors)
            self._end(phase, crashes, before)
        return phases

    def _warm_up(self) -> None:
        for _ in range(1 if self.workers == 1 else _ROUNDS):
            for site in self.sites:
                assert try_to_ask(self.gateway, site, timeout=60) == 200, f"{site.name} is down"
            # What the hostile site needs is in memory before that is measured.
            for page in WARMING if self.postgres else ():
                try_to_ask(self.gateway, self.hostile, page, timeout=60)
        self._visit(_WARM)

    def _visit(self, seconds: float) -> Answers:
        visiting = self._visitors.submit(visit, self.gateway.port, self.neighbours, seconds)
        return visiting.result()

    def _phase(self, troubles: Sequence[Mapping[str, Kind]]) -> Phase:
        """Visits while each of these troubles strikes, the kinds of one after the other."""
        site = Hostile(self.gateway, self.hostile, self.postgres, self.workers)
        striking = [
            threading.Thread(target=_strike, args=(site, list(kinds.items()), number * _APART))
            for number, kinds in enumerate(troubles)
        ]
        begin = time.monotonic()
        with self._deaths() as deaths:
            for each in striking:
                each.start()
            try:
                answers = self._visit(self.seconds)
            finally:
                site.enough.set()
                for each in striking:
                    each.join()
        return Phase(begin, site, answers, deaths, self._held())

    def _end(self, phase: Phase, kinds: Mapping[str, Kind], before: Held) -> None:
        """Leave the hostile site alone, with good code, and see what is given back."""
        site = phase.site
        phase.missed += judge_shown(
            {name: kind.shown for name, kind in kinds.items()}, site.diary.outcomes
        )
        site.end_hangs()
        site.end_loops()
        site.write("")
        if (outcome := site.reload("at the end")) != "200":
            phase.missed.append(f"at the end, a reload of the hostile site is {outcome}")
        phase.missed += answer_again(self.gateway, self.sites)
        phase.missed += kept(self.gateway, self.workers, before)
        phase.held = self._held()
        if self.workers == 1:
            phase.missed += places_kept(self.gateway, self.meeting)

    def _held(self) -> Held:
        return Held.by(pids_of(self.gateway, self.workers))

    def _alive(self) -> set[int]:
        return set() if self.gateway.ended else set(pids_of(self.gateway, self.workers))

    def figures(self, answers: Answers) -> dict[str, Figures]:
        return {each.name: answers.figures(each.name) for each in self.neighbours}

    @contextmanager
    def _deaths(self) -> Iterator[list[float]]:
        """While inside ``with``, the moments at which workers were seen to have ended."""
        found: list[float] = []
        enough = threading.Event()
        there = self._alive()

        def look() -> None:
            nonlocal there
            over = False
            while not over:
                over = enough.wait(0.1)
                now = self._alive()
                found.extend(time.monotonic() for _ in there - now)
                there = now

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield found
        finally:
            enough.set()
            looking.join()


def _strike(site: Hostile, kinds: list[tuple[str, Kind]], delay: float) -> None:
    """Strike from then on until there was enough, each kind after the other."""
    site.rest(delay)
    for name, kind in cycle(kinds):
        try:
            kind.strike(site)
        except Exception as error:
            # A gateway that has come to a standstill has to be told of as well.
            site.diary.came(name, f"{type(error).__name__}: {str(error)[:100]}")
        site.rest(kind.rest)
        if site.enough.is_set():
            return
