"""Tell whether files have changed since something was made from them, without reading them.

A file counts as the same if its inode, its size and two times are the same: that of the last change
of its contents (``mtime``), and that of the last change of anything about it (``ctime``), which
nobody can set back. If a file changes twice in the same tick of the file system's clock, the second
change leaves no trace (git calls such files "racily clean"). So a file can be known as unchanged
only if it had not changed for `SETTLED` seconds when it was looked at. For a folder only its
existence counts: files in it that matter are inputs of their own.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

SETTLED: Final = 2.0
"""Seconds. The slowest clock of a file system in use, that of FAT, ticks every two seconds."""

Look = tuple[int, ...]
"""The values that ``stat`` gives for a path, in a form that can be compared later."""


def look(path: str) -> Look:
    """Return the `Look` of what is at a path, after all symbolic links; never raises."""
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
    """Tell whether the file will be unchanged if it looks the same later.

    That is so if the file was last changed more than ``settled`` seconds ago.
    """
    return len(seen) < 6 or seen[-1] / 1e9 < time.time() - settled


class Inputs:
    """The files and folders that something was made from.

    ``settled`` is a number of seconds, as for `has_settled`.
    """

    __slots__ = ("_all_settled", "_looks", "_settled")

    def __init__(self, settled: float = SETTLED) -> None:
        self._looks: dict[str, Look] = {}
        self._settled = settled
        self._all_settled = True

    def add(self, path: Path | str) -> None:
        """Record a path, existing or not, just before its file is looked at or read."""
        seen = look(os.fspath(path))
        self._looks[os.fspath(path)] = seen
        self._all_settled = self._all_settled and has_settled(seen, self._settled)

    def unchanged(self, look: Callable[[str], Look] = look) -> bool:
        """Tell whether all of them are certainly unchanged. Blocks."""
        return self._all_settled and all(look(path) == seen for path, seen in self._looks.items())
