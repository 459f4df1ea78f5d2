"""The table of results in the documentation, from the rows that the last runs left."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .results import Origin
from .verdicts import Verdict


@dataclass(frozen=True)
class Row:
    """What came of a suite, as far as it was run."""

    python: str
    django: str
    labels: str
    tests: int
    same: int
    inherent: int
    varying: int
    unexplained: int
    commit: str
    date: str

    def __str__(self) -> str:
        return _line(map(str, vars(self).values()))


def row(django: str, labels: str, verdicts: Sequence[Verdict], origins: Sequence[Origin]) -> Row:
    """The row of those parts of a suite that have been run."""
    return Row(
        platform.python_version(),
        django,
        labels,
        sum(verdict.tests for verdict in verdicts),
        sum(verdict.same for verdict in verdicts),
        sum(len(verdict.inherent) for verdict in verdicts),
        sum(len(verdict.varying) for verdict in verdicts),
        sum(len(verdict.unexplained) for verdict in verdicts),
        ", ".join(sorted({origin.commit for origin in origins})),
        max(origin.date for origin in origins),
    )


def keep(row: Row, name: str, folder: Path) -> None:
    """Put a row where ``markdown`` finds it, in place of the one that had the same ``name``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{row.python} {row.django} {name}.json"
    path.write_text(json.dumps(asdict(row)))


def markdown(folder: Path) -> str:
    """All rows that are kept there, the newest interpreter first."""
    rows = [Row(**json.loads(path.read_text())) for path in folder.glob("*.json")]
    rows.sort(key=lambda row: (row.labels, row.django))
    rows.sort(key=lambda row: [*map(int, re.findall(r"\d+", row.python))], reverse=True)
    titles = [field.name.capitalize() for field in fields(Row)]
    return "\n".join([_line(titles), _line("---" for _ in titles), *map(str, rows)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
