"""Files that something was made of, and whether they are still as they were, without reading them.

A file is known by its inode, its size and the times of its last change: of its contents, and of
anything about it (``ctime``), which nobody can set back. Of two changes in the same tick of the
file system's clock the second leaves no trace (git calls such files "racily clean"), so that a file
counts as known only if it had been left alone for `SETTLED` seconds before it was looked at. Of a
folder counts that it is there: what else matters about it is an input of its own.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

SETTLED: Final = 2.0
"""Seconds; the coarsest clock of a file system that is in use (FAT) ticks as slowly."""

Look = tuple[int, ...]
"""What a file, a folder or nothing at all looks like from outside."""


def look(path: str) -> Look:
    """Return what there is at a path, at the end of all links; never raises."""
    try:
        found = os.stat(path)
    except OSError as error:
        return (-1, error.errno or 0)
    except ValueError:
        return (-1, 0)
    if stat.S_ISDIR(found.st_mode):
        return (stat.S_IFDIR,)
    return (
        found.st_mode,
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )


def has_settled(seen: Look, settled: float = SETTLED) -> bool:
    """Whether a file that looks the same later is the same, as far as that can be told.

    ``settled`` is how many seconds it must have been left alone for that.
    """
    return len(seen) < 6 or seen[-1] / 1e9 < time.time() - settled


class Inputs:
    """The files and folders that something was made of; for ``settled`` see `has_settled`."""

    __slots__ = ("_all_settled", "_looks", "_settled")

    def __init__(self, settled: float = SETTLED) -> None:
        self._looks: dict[str, Look] = {}
        self._settled = settled
        self._all_settled = True

    def add(self, path: Path) -> None:
        """One that is about to be looked at or read, whether anything is there or not."""
        seen = look(os.fspath(path))
        self._looks[os.fspath(path)] = seen
        self._all_settled = self._all_settled and has_settled(seen, self._settled)

    def unchanged(self, look: Callable[[str], Look] = look) -> bool:
        """Whether all of them are certainly as they were. It blocks."""
        return self._all_settled and all(look(path) == seen for path, seen in self._looks.items())
