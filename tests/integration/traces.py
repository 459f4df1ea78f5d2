"""What `traced` writes, and the tests read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ARMED: Final = "armed"
"""The first line of a trace."""


@dataclass(frozen=True)
class Entry:
    """The first entry of a module of the gateway: by which function, on which thread."""

    module: str
    function: str
    thread: str

    def __str__(self) -> str:
        return f"{self.module} {self.function} {self.thread}"


def read_trace(path: Path) -> list[Entry]:
    """What has been written so far."""
    lines = path.read_text().splitlines(keepends=True)
    return [Entry(*line.split()) for line in lines if line.endswith("\n") and line.strip() != ARMED]
