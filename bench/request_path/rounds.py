"""Interleaved rounds: each asks every server for every scenario, in an order of its own.

Machines drift, so a server is compared with what ``base`` did for the same scenario in the same
round, and the median of these ratios is the figure. An error in any round makes it invalid. The
servers are started for each round: two processes of the same code may differ by a third.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.request_path import wrk
from bench.request_path.scenarios import Scenario
from bench.request_path.servers import Server
from bench.request_path.wrk import Load, Outcome


@dataclass(frozen=True)
class Figure:
    """One load of one scenario on one server in one round."""

    round: int
    scenario: str
    load: str
    server: str
    outcome: Outcome
    cpu: float
    """Seconds that the server used for all loads of the scenario together."""
    cpu_for_a_request: float
    """Milliseconds, over all loads of the scenario."""


@dataclass(frozen=True)
class Row:
    """One load on one server over all rounds."""

    scenario: str
    load: str
    server: str
    rate: float
    ratio: float | None
    worst: float | None
    best: float | None
    cpu_for_a_request: float
    p50: float
    p99: float
    errors: dict[str, int]


def measure(
    servers: Sequence[Server], scenarios: Sequence[Scenario], *, number: int, seconds: int
) -> list[Figure]:
    """Run one round; every server has answered each path correctly before."""
    for server in servers:
        _check(server, servers[0], {load for scenario in scenarios for load in scenario.loads})
    figures = []
    for scenario in scenarios:
        for server in random.sample(servers, len(servers)):
            print(f"round {number + 1}: {scenario.name}: {server.peer.name}", file=sys.stderr)
            figures += _measure(server, scenario, number, seconds)
    return figures


def _measure(server: Server, scenario: Scenario, number: int, seconds: int) -> list[Figure]:
    wrk.run(scenario.loads, server.port, server.hosts, 1)
    server.settle()
    before = server.cpu()
    outcomes = wrk.run(scenario.loads, server.port, server.hosts, seconds)
    cpu = server.cpu() - before
    server.settle()
    requests = max(1, sum(outcome.requests for outcome in outcomes))
    return [
        Figure(
            number,
            scenario.name,
            str(load),
            server.peer.name,
            outcome,
            cpu,
            cpu / requests * 1000,
        )
        for load, outcome in zip(scenario.loads, outcomes, strict=True)
    ]


def _check(server: Server, model: Server, loads: Iterable[Load]) -> None:
    """Raise ``AssertionError`` unless ``server`` answers what ``model`` answers."""
    for path in {load.path for load in loads if load.method == "GET"}:
        answer = server.get(server.hosts[-1], path)
        assert answer[0] == 200, f"{server.peer.name} answered {path} with {answer[0]}"
        wanted = model.get(model.hosts[0], path)
        assert answer == wanted, f"{server.peer.name} and {model.peer.name} differ in {path}"


def summarise(figures: Sequence[Figure], base: str) -> list[Row]:
    """Medians over the rounds, and of the ratios to ``base`` within each."""
    of_base = {
        (figure.round, figure.scenario, figure.load): figure.outcome.rate
        for figure in figures
        if figure.server == base
    }
    groups: dict[tuple[str, str, str], list[Figure]] = defaultdict(list)
    for figure in figures:
        groups[figure.scenario, figure.load, figure.server].append(figure)
    rows = []
    for (scenario, load, server), group in groups.items():
        ratios = [
            figure.outcome.rate / rate
            for figure in group
            if (rate := of_base.get((figure.round, scenario, load)))
        ]
        errors: dict[str, int] = defaultdict(int)
        for figure in group:
            for kind, count in figure.outcome.errors.items():
                errors[kind] += count
        rows.append(
            Row(
                scenario,
                load,
                server,
                statistics.median(figure.outcome.rate for figure in group),
                statistics.median(ratios) if ratios else None,
                min(ratios, default=None),
                max(ratios, default=None),
                statistics.median(figure.cpu_for_a_request for figure in group),
                statistics.median(figure.outcome.p50 for figure in group),
                statistics.median(figure.outcome.p99 for figure in group),
                dict(errors),
            )
        )
    order = list(dict.fromkeys((row.scenario, row.load) for row in rows))
    return sorted(rows, key=lambda row: order.index((row.scenario, row.load)))


def table(rows: Sequence[Row], base: str) -> str:
    """The rows as Markdown."""
    lines = [
        f"| scenario | load | server | requests/s | of {base} | worst | best "
        "| CPU ms a request | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = [f"{row.rate:.0f}", *map(_ratio, (row.ratio, row.worst, row.best))]
        if row.errors:
            what = ", ".join(f"{count} {kind}" for kind, count in row.errors.items())
            figures[0] = f"invalid ({what} errors)"
        figures += [f"{row.cpu_for_a_request:.3f}", f"{row.p50:.1f}", f"{row.p99:.1f}"]
        lines.append(f"| {' | '.join([row.scenario, row.load, row.server, *figures])} |")
    return "\n".join(lines)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def conditions(servers: Sequence[Server], **settings: object) -> str:
    """What the figures depend on, to stand above a table."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    given = [f"{value} {name}" for name, value in settings.items()]
    versions = sorted({version for server in servers for version in server.versions()})
    return ", ".join([f"{python}, {os.cpu_count()} cores", *given]) + "; " + ", ".join(versions)


def save(path: Path, figures: Sequence[Figure], rows: Sequence[Row]) -> None:
    """Write every figure of every round, and the medians, as JSON."""
    document = {
        "figures": [asdict(figure) for figure in figures],
        "medians": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(document, indent=1))
