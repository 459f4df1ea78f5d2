"""The table of results in the documentation, from the rows that the last runs left."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from .results import Origin
from .verdicts import Verdict

_COLUMNS: Final = (
    "Python", "Django", "Labels", "Tests", "Same", "Inherent", "Varying", "Unexplained", "Commit",
    "Date",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What came of a suite, as far as it was run; ``varying`` has a line for each such test."""

    python: str
    django: str
    labels: str
    tests: int
    same: int
    inherent: int
    varying: Sequence[str]
    unexplained: int
    commit: str
    date: str

    def __str__(self) -> str:
        cells = {**vars(self), "varying": len(self.varying)}
        return _line(map(str, cells.values()))


def row(django: str, labels: str, verdicts: Sequence[Verdict], origins: Sequence[Origin]) -> Row:
    """The row of those parts of a suite that have been run."""
    cut_short = sum(bool(verdict.faults) for verdict in verdicts)
    return Row(
        platform.python_version(),
        django,
        f"{labels}, {cut_short} cut short" if cut_short else labels,
        sum(verdict.tests for verdict in verdicts),
        sum(verdict.same for verdict in verdicts),
        sum(len(verdict.inherent) for verdict in verdicts),
        [str(item) for verdict in verdicts for item in verdict.varying],
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
    """All rows that are kept there, the newest interpreter first, then what varied in them."""
    rows = [Row(**json.loads(path.read_text())) for path in folder.glob("*.json")]
    rows.sort(key=lambda row: (row.labels, row.django))
    rows.sort(key=lambda row: [*map(int, re.findall(r"\d+", row.python))], reverse=True)
    varying = [f"- {row.django} on {row.python}: {line}" for row in rows for line in row.varying]
    table = [_line(_COLUMNS), _line("---" for _ in _COLUMNS), *map(str, rows)]
    return "\n".join([*table, *([""] if varying else []), *varying])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
