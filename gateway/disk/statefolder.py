"""The folder in which the gateway keeps its state. All files in it are opened here, nowhere else.

`gateway.disk.trustedfolder` finds the folder, and checks the folder and each file in it.
"""

from __future__ import annotations

import fcntl
import fnmatch
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from gateway.disk.trustedfolder import (
    StateError,
    TrustedFolder,
    file_id,
    trusted_folder,
    where_paths_hold,
)

logger = logging.getLogger("gateway.statefolder")

TOKEN: Final = "admin-token"
_STORE: Final = "gateway-{}.db"
_LAST_GOOD: Final = "last-good-sites-{}.json"
_STACKS: Final = "stacks-{}.txt"
STACKS: Final = _STACKS.format("*")
"""The pattern of the names that `stacks_name` makes."""
_EVIDENCE: Final = "crash-{}-"


def store_name(sites: Path) -> str:
    """Return the file name of the store of the gateway that serves the file ``sites``.

    The name depends on that path, here and in `last_good_name`. So two gateways that were given the
    same state folder do not carry out each other's orders, and do not serve each other's sites.
    """
    return _STORE.format(_key(sites))


def last_good_name(sites: Path) -> str:
    """Return the file name of the last good copy of the file ``sites``."""
    return _LAST_GOOD.format(_key(sites))


def stacks_name(worker: str) -> str:
    """Return the name of the file in which a worker says where its threads are."""
    return _STACKS.format(worker)


def evidence_prefix(sites: Path) -> str:
    """Return how the names of files begin in which workers that serve ``sites`` say how they end.

    The id of the worker follows.
    """
    return _EVIDENCE.format(_key(sites))


def is_store_name(name: str) -> bool:
    """Tell whether a file name is that of the store of some gateway."""
    return fnmatch.fnmatchcase(name, _STORE.format("*"))


def _key(sites: Path) -> str:
    return sha256(os.fsencode(sites.absolute())).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class FileOfStore:
    """A file for SQLite: its ``path``, its path for messages (``shown``), its device and inode."""

    path: Path
    shown: str
    id: tuple[int, int]


class StateFolder:
    """The state folder at ``path``, made when it is needed, and checked anew at each use.

    Every method blocks, and raises `StateError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def below(self) -> str:
        """Return the name of the gateway's own folder below ``path``; empty if none is needed."""
        with self._opened() as folder:
            return folder.below

    def path_of(self, name: str) -> Path:
        """Return the path of a file, whether it exists or not."""
        with self._opened() as folder:
            return folder.path / name

    def names(self) -> set[str]:
        """Return the names of the files and folders in it."""
        with self._opened() as folder:
            return set(os.listdir(folder.descriptor))

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a file, ``None`` if there is none; refuse more than ``limit``."""
        with self._opened() as folder:
            return folder.read(name, limit)

    def replace(self, name: str, content: bytes) -> None:
        """Write a file that only its owner can read; it is replaced as a whole or not at all."""
        draft = f".{name}.{secrets.token_hex(8)}"
        with self._opened() as folder:
            descriptor = folder.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                _write(descriptor, content)
                folder.rename(draft, name)
            except BaseException:
                with suppress(OSError):
                    folder.unlink(draft)
                raise
            finally:
                os.close(descriptor)

    def make_once(self, name: str, content: Callable[[], bytes], limit: int) -> bytes:
        """Return the content of a secret file. Write ``content()`` first if there is no such file.

        If several processes call this at the same time, one writes, and all return what it wrote,
        even if some of them die meanwhile. It needs no hard links; some file systems have none.
        """
        draft = f".{name}.draft"
        with self._opened() as folder:
            while (found := folder.read(name, limit, secret=True)) is None:
                with _locked(folder, draft) as descriptor:
                    if folder.id(draft) != file_id(os.fstat(descriptor)):
                        # The process that had the lock before has renamed this draft.
                        continue
                    try:
                        if folder.id(name) is None:
                            _write(descriptor, content())
                            folder.rename(draft, name)
                            logger.info("made %s", folder.path / name)
                        else:
                            folder.unlink(draft)
                    except BaseException:
                        with suppress(OSError):
                            folder.unlink(draft)
                        raise
            return found

    def own(self, name: str) -> int:
        """Make an empty file, and return its descriptor, for appending.

        The file is this process's own until it is closed or the process ends; see `take_left` and
        `is_owned`.
        """
        with self._opened() as folder:
            while True:
                descriptor = folder.open(name, os.O_RDWR | os.O_APPEND | os.O_CREAT)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                    # Before it was locked, another process may have taken it for left.
                    if folder.id(name) == file_id(os.fstat(descriptor)):
                        os.ftruncate(descriptor, 0)
                        return descriptor
                except BaseException:
                    os.close(descriptor)
                    raise
                os.close(descriptor)

    def take_left(self, pattern: str, limit: int) -> dict[str, str]:
        """Remove the files made by `own` whose processes have ended; return their texts by name.

        Of each, ``limit`` bytes are read. Only one process gets each of them.
        """
        texts = {}
        with self._opened() as folder:
            for name in fnmatch.filter(os.listdir(folder.descriptor), pattern):
                with suppress(FileNotFoundError, BlockingIOError):
                    descriptor = folder.open(name, os.O_RDWR)
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        texts[name] = os.read(descriptor, limit).decode(errors="replace")
                        folder.unlink(name)
                    finally:
                        os.close(descriptor)
        return texts

    def remove(self, name: str) -> None:
        """Remove a file; do nothing if it does not exist."""
        with self._opened() as folder, suppress(FileNotFoundError):
            folder.unlink(name)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; do nothing if it does not exist."""
        with self._opened() as folder, suppress(FileNotFoundError):
            folder.rename(old, new)

    def is_owned(self, name: str) -> bool:
        """Tell whether the process that made a file by `own` lives; false if there is no file."""
        with self._opened() as folder:
            try:
                descriptor = folder.open(name, os.O_RDONLY)
            except FileNotFoundError:
                return False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(descriptor)
            return False

    def prepare(self, name: str, *beside: str) -> FileOfStore:
        """Make a file for SQLite, which opens it by its path, if there is none.

        The files ``beside`` are not made, only checked. Files that exist are not even opened:
        closing them would release the locks that this process holds on them (howtocorrupt.html,
        2.2, of https://www.sqlite.org).
        """
        with self._opened() as folder, where_paths_hold(folder, name, *beside) as safe:
            safe.look(name, *beside)
            if safe.id(name) is None:
                with suppress(FileExistsError):
                    os.close(safe.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL))
            if (id := safe.id(name)) is None:
                raise StateError(f"{safe.shown(name)} was removed while it was made")
            return FileOfStore(safe.path / name, str(safe.shown(name)), id)

    def id_of_store(self, name: str) -> tuple[int, int] | None:
        """Return the device and inode of the file that `prepare` would find, or ``None``."""
        with self._opened() as folder, where_paths_hold(folder) as safe:
            return safe.id(name)

    def _opened(self) -> AbstractContextManager[TrustedFolder]:
        return trusted_folder(self._path, left_behind=TOKEN)


@contextmanager
def _locked(folder: TrustedFolder, name: str) -> Iterator[int]:
    """Make or open a file, and lock it; another process may have renamed it meanwhile."""
    descriptor = folder.open(name, os.O_RDWR | os.O_CREAT)
    try:
        # The system releases the lock of a process that dies.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    while content:
        content = content[os.write(descriptor, content) :]
    os.fsync(descriptor)
