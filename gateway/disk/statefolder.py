"""The folder of what the gateway remembers; every file in it is opened here and nowhere else.

Who can write into the folder gives the gateway a token, orders and code to run. So the folder
belongs to the gateway's user, and nobody else can write to it. Where that is not so, as on the
volumes of many platforms, a folder of the gateway's own below it takes its place, ``user-UID``. One
that stands there already and is somebody else's may have been planted, and is refused.

Of a file in it the same is asked again, on the open file: no link, a regular file, ours, and for
nobody else to write to. Others could have put it there before the folder was closed to them.

What remains: whoever can write to a folder *above* can rename what is below, and so take the state
away or put another folder of the gateway's user in its place, but none of his own making. SQLite
opens its files by their names; in a folder that only we write to, these are what they were when
they were looked at.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shlex
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Final

from gateway.disk.files import kind_of, read_all, way_to
from gateway.errors import GatewayError

logger = logging.getLogger("gateway.statefolder")

TOKEN: Final = "admin-token"
_STORE: Final = "gateway-{}.db"
_LAST_GOOD: Final = "last-good-sites-{}.json"

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OURS: Final = stat.S_IRUSR | stat.S_IWUSR
_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking, for what is a FIFO or a device after all.
_OPEN_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ANOTHER: Final = "name another folder with GATEWAY_STATE_DIR"


class StateError(GatewayError):
    """The state folder or a file in it cannot be used or trusted; the message has the remedy."""


def store_name(sites: Path) -> str:
    """The file of the store of the gateway that serves ``sites``.

    The name depends on that path, here and in `last_good_name`: two gateways that were given the
    same state folder carry out none of each other's orders and serve none of each other's sites.
    """
    return _STORE.format(_key(sites))


def last_good_name(sites: Path) -> str:
    """The file of the last good copy of ``sites``."""
    return _LAST_GOOD.format(_key(sites))


def is_store_name(name: str) -> bool:
    """Whether a file is the store of some gateway."""
    return fnmatchcase(name, _STORE.format("*"))


def _key(sites: Path) -> str:
    return sha256(os.fsencode(sites.absolute())).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class _Folder:
    """An open folder, and its path without links. ``below`` is its name if it is our own one."""

    descriptor: int
    path: Path
    below: str = ""

    def look(self, name: str) -> None:
        """See that a file can be trusted, and that others cannot read it."""
        path = self.path / name
        status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        _require_ours(status, path)
        if status.st_mode & _OTHERS:
            os.chmod(name, _OURS, dir_fd=self.descriptor)
            logger.warning(
                "others could read %s, which is now put right; if it is the admin token and "
                "somebody may have read it, remove the file and start again to get a new one",
                path,
            )

    def open(self, name: str, flags: int) -> int:
        """Open a file that can be trusted."""
        with suppress(FileNotFoundError):
            self.look(name)
        descriptor = os.open(name, flags | _OPEN_FILE, _OURS, dir_fd=self.descriptor)
        try:
            status = os.fstat(descriptor)
            _require_ours(status, self.path / name)
            # An unusual umask takes from us what is ours.
            if status.st_mode & _OURS != _OURS:
                os.fchmod(descriptor, _OURS)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, name: str, limit: int) -> bytes | None:
        """The content of a file, ``None`` if there is none."""
        try:
            descriptor = self.open(name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return read_all(descriptor, limit)
        finally:
            os.close(descriptor)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; what had that name is gone."""
        os.rename(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def unlink(self, name: str) -> None:
        """Remove a file."""
        os.unlink(name, dir_fd=self.descriptor)

    def inode(self, name: str) -> int | None:
        """Which file has a name; ``None`` if none has."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_ino
        except FileNotFoundError:
            return None


class StateFolder:
    """The state folder at ``path``, made when it is needed. Nothing is remembered between uses.

    Every method blocks, and raises `StateError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def below(self) -> str:
        """The name of the folder of our own that is used below; empty if none is needed."""
        with self._opened() as folder:
            return folder.below

    def path_of(self, name: str) -> Path:
        """Where a file is, or would be."""
        with self._opened() as folder:
            return folder.path / name

    def names(self) -> set[str]:
        """What is in it."""
        with self._opened() as folder:
            return set(os.listdir(folder.descriptor))

    def read(self, name: str, limit: int) -> bytes | None:
        """The content of a file, ``None`` if there is none; over ``limit`` bytes are refused."""
        with self._opened() as folder:
            return folder.read(name, limit)

    def replace(self, name: str, content: bytes) -> None:
        """Write a file, for its owner only; it is there as a whole or not at all."""
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
        """The content of a file, which is written if there is none.

        Of several processes that want it at the same time one writes, and all get what it wrote,
        also if some of them die meanwhile. No hard link is needed; some file systems have none.
        """
        draft = f".{name}.draft"
        with self._opened() as folder:
            while (found := folder.read(name, limit)) is None:
                with _locked(folder, draft) as descriptor:
                    if folder.inode(draft) != os.fstat(descriptor).st_ino:
                        # Whoever had the lock before has made the file out of this draft.
                        continue
                    try:
                        if folder.inode(name) is None:
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

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, unless it is gone."""
        with self._opened() as folder, suppress(FileNotFoundError):
            folder.rename(old, new)

    def prepare(self, name: str, *beside: str) -> Path:
        """Make a file if there is none, and return its path, for what opens it by that.

        The files ``beside`` are not made, only looked at. What is there is not even opened: closing
        it again would take the locks that this process has on it (howtocorrupt.html, 2.2, of
        https://www.sqlite.org).
        """
        with self._opened() as folder:
            for each in (name, *beside):
                with suppress(FileNotFoundError):
                    folder.look(each)
            if folder.inode(name) is None:
                with suppress(FileExistsError):
                    os.close(folder.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL))
            return folder.path / name

    @contextmanager
    def _opened(self) -> Iterator[_Folder]:
        """The folder that is really used."""
        try:
            path = _followed(self._path)
            _make(path)
            with _open(path) as descriptor:
                problem = _why_not_ours(os.fstat(descriptor))
                if problem is None:
                    yield _Folder(descriptor, path)
                else:
                    with _own(_Folder(descriptor, path), problem) as own:
                        yield own
        except OSError as error:
            raise StateError(
                f"{self._path} cannot keep what the gateway remembers: {error.strerror}; put that "
                f"right, or {_ANOTHER}"
            ) from None


def _followed(path: Path) -> Path:
    """Where a path leads to; it may lead there through no link that others may have made."""
    *links, end = map(Path, way_to(os.fspath(path)))
    for link in links:
        owner = link.lstat().st_uid
        if owner not in {os.geteuid(), 0} and link.parent.stat().st_mode & _OTHERS_WRITE:
            raise StateError(
                f"{link} is a link of user {owner} in a folder that others can write to, so it may "
                "lead anywhere; name the folder that is meant with GATEWAY_STATE_DIR"
            )
    return end


def _make(path: Path) -> None:
    """Make a folder for its owner only, and those above it for nobody else to write to."""
    if path.is_dir():
        return
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(0o755, exist_ok=True)
    path.mkdir(0o700, exist_ok=True)


@contextmanager
def _open(path: Path | str, within: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, _OPEN_FOLDER, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _own(outer: _Folder, problem: str) -> Iterator[_Folder]:
    """The folder of our own in one that is not ours, or that others can write to."""
    name = f"user-{os.geteuid()}"
    path = outer.path / name
    made = _make_own(outer, name, problem)
    status = os.stat(name, dir_fd=outer.descriptor, follow_symlinks=False)
    why_not = _why_not_ours(status) if stat.S_ISDIR(status.st_mode) else None
    if made and why_not is not None:
        raise StateError(
            f"the file system of {outer.path} keeps no permissions: {path} was made for its owner "
            f"only, and {why_not}; {_ANOTHER}"
        )
    if not stat.S_ISDIR(status.st_mode) or why_not is not None:
        raise StateError(
            f"{path} cannot be trusted: {why_not or f'it is {kind_of(status.st_mode)}'}, and "
            f"somebody else may have put it there; move it away: "
            f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.found')}"
        )
    with _open(name, outer.descriptor) as descriptor:
        # It may have been changed for another one since it was looked at.
        if (why_not := _why_not_ours(os.fstat(descriptor))) is not None:
            raise StateError(f"{path} cannot be trusted: {why_not}")
        yield _Folder(descriptor, path, name)


def _make_own(outer: _Folder, name: str, problem: str) -> bool:
    """Make the folder of our own; false if there is something."""
    path = outer.path / name
    try:
        os.mkdir(name, 0o700, dir_fd=outer.descriptor)
    except FileExistsError:
        return False
    except OSError as error:
        user = os.geteuid()
        quoted = shlex.quote(str(outer.path))
        raise StateError(
            f"{outer.path} is not the gateway's alone ({problem}), and the gateway, as user "
            f"{user}, cannot make {path} for itself ({error.strerror}); give it that folder: "
            f"chown {user} {quoted} && chmod go-w {quoted}, or {_ANOTHER}"
        ) from None
    logger.warning(
        "%s is not the gateway's alone (%s), so its state is kept in %s", outer.path, problem, path
    )
    if outer.inode(TOKEN) is not None:
        logger.warning(
            "%s IS NOT USED ANY MORE, because others could have put it there; the token is in %s",
            outer.path / TOKEN,
            path / TOKEN,
        )
    return True


@contextmanager
def _locked(folder: _Folder, name: str) -> Iterator[int]:
    """An empty file that no other process has locked; it may have got another name meanwhile."""
    descriptor = folder.open(name, os.O_RDWR | os.O_CREAT)
    try:
        # The lock of a process that dies is gone with it.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    while content:
        content = content[os.write(descriptor, content) :]
    os.fsync(descriptor)


def _why_not_ours(status: os.stat_result) -> str | None:
    """Say why something is not the gateway's alone, ``None`` if it is."""
    if status.st_uid != os.geteuid():
        return f"it belongs to user {status.st_uid}"
    # What an access control list gives to others stands in the bits of the group (acl(5)).
    return "others can write to it" if status.st_mode & _OTHERS_WRITE else None


def _require_ours(status: os.stat_result, path: Path) -> None:
    """Raise `StateError` if a file in the folder may come from somebody else."""
    remove = f"remove it: rm -r {shlex.quote(str(path))}"
    if not stat.S_ISREG(status.st_mode):
        raise StateError(f"{path} is not a file but {kind_of(status.st_mode)}; {remove}")
    if (problem := _why_not_ours(status)) is not None:
        raise StateError(f"{path} cannot be trusted, {problem}; {remove}")
