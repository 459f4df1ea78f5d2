"""The source files of loaded code, and which of them have changed since they were read.

A file counts as changed if its size, modification time or inode differ, and a folder if its
symbolic links lead elsewhere. Other changes in a folder show in the files that count there.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_NEVER: Final = frozenset({"__pycache__", "node_modules"})
"""Folders in which nobody edits files. Hidden ones and virtual environments do not count either."""

_Look = tuple[int, int, int] | str | None
"""The values that a file or a folder is compared by; ``None`` if it does not exist."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder in which files with some suffixes count, also those that are created later.

    Files and folders in ``left_out``, with everything below them, do not count.
    """

    folder: str
    suffixes: frozenset[str]
    left_out: frozenset[str] = frozenset()

    def files(self) -> Iterator[str]:
        """Yield the files that count and exist now."""
        for here, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not self._skips(here, name)]
            for name in names:
                path = os.path.join(here, name)
                if os.path.splitext(name)[1] in self.suffixes and path not in self.left_out:
                    yield path

    def looks(self) -> list[tuple[str, _Look]]:
        """Return the files that count, sorted, each with the values that it is compared by."""
        return [(path, _look(path)) for path in sorted(self.files())]

    def _skips(self, here: str, name: str) -> bool:
        folder = os.path.join(here, name)
        return (
            name.startswith(".")
            or name in _NEVER
            or folder in self.left_out
            or os.path.exists(os.path.join(folder, "pyvenv.cfg"))
        )


class Sources:
    """The sources of one generation. Files may be added on any thread, at any time."""

    def __init__(self) -> None:
        self._looks: dict[str, _Look] = {}
        self._trees: set[Tree] = set()
        # Not held while the disk is asked, which may hang.
        self._lock = threading.Lock()

    def add(self, path: str) -> None:
        """Add a file that is about to be read, or a folder."""
        look = _look(path)
        with self._lock:
            self._looks[path] = look

    def add_trees(self, trees: Iterable[Tree]) -> None:
        """Add folders in which files count."""
        for tree in trees:
            looks = {path: _look(path) for path in tree.files()}
            with self._lock:
                self._trees.add(tree)
                self._looks = looks | self._looks

    def take(self, later: Sources) -> None:
        """Add the sources of a later attempt, as they were then."""
        looks, trees = later._copy()
        with self._lock:
            self._looks.update(looks)
            self._trees.update(trees)

    def changed(self) -> list[str]:
        """Return the paths that have changed since the last call, sorted. This blocks."""
        before, trees = self._copy()
        paths = set(before).union(*(tree.files() for tree in trees))
        now = {path: _look(path) for path in paths}
        changed = sorted(path for path in paths if now[path] != before.get(path))
        with self._lock:
            for path in changed:
                if self._looks.get(path) == before.get(path):  # else it was added meanwhile
                    self._looks[path] = now[path]
        return changed

    def _copy(self) -> tuple[dict[str, _Look], tuple[Tree, ...]]:
        with self._lock:
            return dict(self._looks), tuple(self._trees)


def _look(path: str) -> _Look:
    try:
        found = os.stat(path)
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):
        return os.path.realpath(path)
    return found.st_mtime_ns, found.st_size, found.st_ino
