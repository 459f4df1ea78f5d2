"""The files that code was made of, and whether they are still what they were when it was read.

A file is known by its size, modification time and inode, a folder by where its symbolic links lead:
what else happens in a folder is told by the files that count there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_NEVER: Final = frozenset({"__pycache__", "node_modules"})
"""Folders without anything that a person edits; hidden ones and virtual environments beside."""

_Look = tuple[int, int, int] | str | None
"""What a file, a folder, or nothing at all looks like."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder in which files with some suffixes count, those that are yet to come as well.

    ``left_out`` are files and folders in it that do not, with everything below.
    """

    folder: str
    suffixes: frozenset[str]
    left_out: frozenset[str] = frozenset()

    def files(self) -> Iterator[str]:
        """The files that count and are there now."""
        for here, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not self._skips(here, name)]
            for name in names:
                path = os.path.join(here, name)
                if os.path.splitext(name)[1] in self.suffixes and path not in self.left_out:
                    yield path

    def _skips(self, here: str, name: str) -> bool:
        folder = os.path.join(here, name)
        return (
            name.startswith(".")
            or name in _NEVER
            or folder in self.left_out
            or os.path.exists(os.path.join(folder, "pyvenv.cfg"))
        )


class Sources:
    """What one piece of code was made of. Files may be added on any thread, at any time."""

    def __init__(self) -> None:
        self._looks: dict[str, _Look] = {}
        self._trees: set[Tree] = set()

    def add(self, path: str) -> None:
        """A file that is about to be read, or a folder."""
        self._looks[path] = _look(path)

    def add_trees(self, trees: Iterable[Tree]) -> None:
        """Folders in which files count."""
        for tree in trees:
            self._trees.add(tree)
            for path in tree.files():
                self._looks.setdefault(path, _look(path))

    def take(self, later: Sources) -> None:
        """Have those of a later attempt as well, as they looked then."""
        self._looks.update(later._looks)
        self._trees |= later._trees

    def changed(self) -> list[str]:
        """What is not as it was at the last time of asking, in order. It blocks."""
        before = dict(self._looks)
        paths = set(before).union(*(tree.files() for tree in self._trees))
        now = {path: _look(path) for path in paths}
        changed = sorted(path for path in paths if now[path] != before.get(path))
        self._looks.update({path: now[path] for path in changed})
        return changed


def _look(path: str) -> _Look:
    try:
        found = os.stat(path)
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):
        return os.path.realpath(path)
    return found.st_mtime_ns, found.st_size, found.st_ino
