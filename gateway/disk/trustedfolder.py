"""A folder that is the gateway's alone, and the check that files in it come from nobody else.

Whoever can write into the state folder can give the gateway a token, orders, and code to run. So
the folder must belong to the gateway's user, and nobody else may be able to write to it: then it is
"ours". If the named folder is not ours, as on the volumes of many platforms, the gateway uses a
folder of its own below it: ``user-UID``, or ``user-UID-RANDOM`` if somebody else has taken that
name. Such a folder is used only if it is ours, and nobody else can make one that is.

Each file in the folder is checked too, on the open file: it must be a regular file, not a link,
with one name only, must belong to us, and nobody else may be able to write to it. Others could have
put a file there before the folder was closed to them.

Whoever owns a folder *above* ours, or can write to one, can rename what is on the way, and so put
another folder in the place of ours at any moment. That does no harm to files that are opened here:
they are opened from the descriptor of the folder that was checked. But SQLite opens its files by
their path, several files at several times, and resolves every link in the path first, also the link
of a descriptor in ``/proc``. So if others can do that, the path for SQLite leads through a folder
whose name nobody can guess or list, ``store/RANDOM``. A folder that took the place of ours has no
such folder in it, so SQLite finds nothing and makes nothing there. The name is never shown;
messages have ``*`` in its place.

One risk remains: such a person can take the state away by renaming it, or put another folder of the
gateway's user in its place, but not a folder that he has made himself.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import secrets
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.disk.files import kind_of, read_all, way_to
from gateway.errors import GatewayError

logger = logging.getLogger("gateway.statefolder")

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OURS: Final = stat.S_IRUSR | stat.S_IWUSR
_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO or a device would wait otherwise.
_OPEN_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_HIDDEN: Final = "store"
"""The folder that nobody else can list. In it is the folder with the files of SQLite."""
_NO_GUESS: Final = re.compile(r"[0-9a-f]{32}")
_ANOTHER: Final = "name another folder with GATEWAY_STATE_DIR"


class StateError(GatewayError):
    """The state folder or a file in it cannot be used or trusted; the message has the remedy."""


@dataclass(frozen=True, slots=True)
class TrustedFolder:
    """An open folder, and its path without links.

    ``below`` is its name if it is a folder that the gateway made below the named one, else empty.
    ``hidden`` is true if the last part of the path must never be shown.
    """

    descriptor: int
    path: Path
    below: str = ""
    hidden: bool = False

    def shown(self, name: str) -> Path:
        """Return the path of a file for messages."""
        return (self.path.with_name("*") if self.hidden else self.path) / name

    def quoted(self, name: str) -> str:
        """Return the path of a file, quoted for a command line."""
        quoted = shlex.quote(str(self.shown(name)))
        return re.sub(r"/\*/([^/]*)$", r"'/*/'\1", quoted) if self.hidden else quoted

    def why_not(self, name: str, status: os.stat_result) -> str | None:
        """Say why a file may come from somebody else; return ``None`` if it cannot."""
        if not stat.S_ISREG(status.st_mode):
            return f"{self.shown(name)} is not a file but {kind_of(status.st_mode)}"
        problem = _why_not_ours(status)
        # No name at all is fine: the file was replaced after it was opened.
        if problem is None and status.st_nlink > 1:
            problem = "it has another name elsewhere (a hard link)"
        return f"{self.shown(name)} cannot be trusted, {problem}" if problem else None

    def look(self, *names: str, secret: bool = False) -> None:
        """Check that files can be trusted, and that others cannot read them.

        A file that others could read gets its permissions corrected. A ``secret`` that others could
        read is refused, because they may know it. Raises `StateError`.
        """
        problems = {}
        for name in names:
            try:
                status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if problem := self.why_not(name, status):
                problems[name] = problem
            elif status.st_mode & _OTHERS and secret:
                # Others may put another folder in place of ours before root runs this chmod.
                keep = f"if nobody can have done so, keep it: chmod 600 {self.quoted(name)}; else "
                if _can_be_moved(self.path):
                    keep = ""
                raise StateError(
                    f"others could read {self.shown(name)}; {keep}remove it: "
                    f"rm -r {self.quoted(name)}"
                )
            elif status.st_mode & _OTHERS:
                os.chmod(name, _OURS, dir_fd=self.descriptor)
                logger.warning("others could read %s, which is now put right", self.shown(name))
        if problems:
            files = " ".join(map(self.quoted, problems))
            raise StateError(f"{', and '.join(problems.values())}; remove it: rm -r {files}")

    def open(self, name: str, flags: int, *, secret: bool = False) -> int:
        """Open a file, and return its descriptor. Raises `StateError` if it cannot be trusted."""
        self.look(name, secret=secret)
        descriptor = os.open(name, flags | _OPEN_FILE, _OURS, dir_fd=self.descriptor)
        try:
            status = os.fstat(descriptor)
            if problem := self.why_not(name, status):
                raise StateError(f"{problem}; remove it: rm -r {self.quoted(name)}")
            # An unusual umask takes permissions away from the owner too.
            if status.st_mode & _OURS != _OURS:
                os.fchmod(descriptor, _OURS)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, name: str, limit: int, *, secret: bool = False) -> bytes | None:
        """Return the content of a file, ``None`` if there is none."""
        try:
            descriptor = self.open(name, os.O_RDONLY, secret=secret)
        except FileNotFoundError:
            return None
        try:
            return read_all(descriptor, limit)
        finally:
            os.close(descriptor)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; a file that had that name is replaced."""
        os.rename(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def unlink(self, name: str) -> None:
        """Remove a file."""
        os.unlink(name, dir_fd=self.descriptor)

    def id(self, name: str) -> tuple[int, int] | None:
        """Return the device and inode of a file; ``None`` if there is none."""
        try:
            return file_id(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False))
        except FileNotFoundError:
            return None


@contextmanager
def trusted_folder(named: Path, *, left_behind: str) -> Iterator[TrustedFolder]:
    """Open the folder that is used for the absolute path ``named``, and make it if needed.

    That is the named folder if it is ours, else our own folder below it. When our own one is made
    and the named folder has a file called ``left_behind``, a warning says that this file does not
    count any more. Raises `StateError`, also instead of an ``OSError`` of the block.
    """
    try:
        path = _followed(named)
        _make(path)
        with _open(path) as descriptor:
            problem = _why_not_ours(os.fstat(descriptor))
            if problem is None:
                yield TrustedFolder(descriptor, path)
            else:
                with _own(TrustedFolder(descriptor, path), problem, left_behind) as own:
                    yield own
    except OSError as error:
        raise StateError(
            f"{named} cannot keep what the gateway remembers: {error.strerror}; put that "
            f"right, or {_ANOTHER}"
        ) from None


def _followed(path: Path) -> Path:
    """Return the end of a path after all links; refuse a link that others may have made."""
    *links, end = map(Path, way_to(os.fspath(path)))
    for link in links:
        owner = link.lstat().st_uid
        if _is_strange(owner) and _others_write(link.parent.stat()):
            raise StateError(
                f"{link} is a link of user {owner} in a folder that others can write to, so it may "
                "lead anywhere; name the folder that is meant with GATEWAY_STATE_DIR"
            )
    return end


def _is_strange(user: int) -> bool:
    return user not in {os.geteuid(), 0}


def _others_write(folder: os.stat_result) -> bool:
    """Tell whether anybody but the gateway's user and root can put files into a folder."""
    return bool(folder.st_mode & _OTHERS_WRITE) or _is_strange(folder.st_uid)


def _can_be_moved(path: Path) -> bool:
    """Tell whether others can rename a folder or one above it, and so replace it."""
    return any(
        _is_strange(status.st_uid)
        # In a sticky folder only the owner of a file can rename it (unlink(2), EPERM).
        or (status.st_mode & _OTHERS_WRITE and not status.st_mode & stat.S_ISVTX)
        for status in map(os.stat, path.parents)
    )


def _make(path: Path) -> None:
    """Make a folder for its owner only, and missing ones above it so that only he can write."""
    if path.is_dir():
        return
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        _mkdir(folder, 0o755)
    _mkdir(path, 0o700)


def _mkdir(path: Path | str, mode: int, within: int | None = None) -> bool:
    """Make a folder that its owner can use, whatever the umask; return false if it exists."""
    try:
        os.mkdir(path, mode, dir_fd=within)
    except FileExistsError:
        return False
    status = os.stat(path, dir_fd=within, follow_symlinks=False)
    if status.st_mode & stat.S_IRWXU != stat.S_IRWXU and status.st_uid == os.geteuid():
        # Never through a link: others may have put one there by now.
        if os.chmod in os.supports_follow_symlinks:
            os.chmod(path, stat.S_IRWXU, dir_fd=within, follow_symlinks=False)
        else:
            # Linux. Only O_PATH opens a folder without the permission to read it.
            descriptor = os.open(path, _OPEN_FOLDER | os.O_PATH, dir_fd=within)
            try:
                os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IRWXU)
            finally:
                os.close(descriptor)
    return True


@contextmanager
def _open(path: Path | str, within: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, _OPEN_FOLDER, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _own(outer: TrustedFolder, problem: str, left_behind: str) -> Iterator[TrustedFolder]:
    """Find or make the gateway's own folder in one that is not ours, and open it."""
    name, descriptor = _found_own(outer) or _made_own(outer, problem, left_behind)
    try:
        yield TrustedFolder(descriptor, outer.path / name, name)
    finally:
        os.close(descriptor)


def _found_own(outer: TrustedFolder) -> tuple[str, int] | None:
    """Find and open the gateway's own folder; return its name and descriptor, or ``None``.

    If somebody else has taken the usual name, the first start of several workers can make several
    such folders. Then all workers use the first one by name.
    """
    usual = f"user-{os.geteuid()}"
    if (descriptor := _open_own(outer, usual)) is not None:
        return usual, descriptor
    other = re.compile(rf"{usual}-[0-9a-f]{{16}}")
    for name in sorted(filter(other.fullmatch, os.listdir(outer.descriptor))):
        if (descriptor := _open_own(outer, name)) is not None:
            return name, descriptor
    return None


def _open_own(outer: TrustedFolder, name: str) -> int | None:
    """Open a folder and return its descriptor; return ``None`` if it is not ours alone."""
    try:
        descriptor = os.open(name, _OPEN_FOLDER, dir_fd=outer.descriptor)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES}:
            return None
        raise
    if _why_not_ours(os.fstat(descriptor)) is None:
        return descriptor
    os.close(descriptor)
    return None


def _made_own(outer: TrustedFolder, problem: str, left_behind: str) -> tuple[str, int]:
    """Make the gateway's own folder and open it; return its name and descriptor."""
    name = f"user-{os.geteuid()}"
    taken = ""
    try:
        if not _mkdir(name, 0o700, outer.descriptor):
            # Another worker may have made it just now.
            if (descriptor := _open_own(outer, name)) is not None:
                return name, descriptor
            taken = f"; {outer.path / name} may be somebody else's"
            name = f"{name}-{secrets.token_hex(8)}"
            _mkdir(name, 0o700, outer.descriptor)
    except OSError as error:
        raise StateError(_cannot_make_own(outer.path, problem, error)) from None
    path = outer.path / name
    if (descriptor := _open_own(outer, name)) is None:
        with suppress(OSError):
            os.rmdir(name, dir_fd=outer.descriptor)
        raise StateError(
            f"the file system of {outer.path} keeps no permissions: {path} was made for its owner "
            f"only, and is not; {_ANOTHER}"
        )
    logger.warning(
        "%s is not the gateway's alone (%s), so its state is kept in %s%s",
        outer.path,
        problem,
        path,
        taken,
    )
    if outer.id(left_behind) is not None:
        logger.warning(
            "%s IS NOT USED ANY MORE, because others could have put it there; the token is in %s",
            outer.path / left_behind,
            path / left_behind,
        )
    return name, descriptor


def _cannot_make_own(outer: Path, problem: str, error: OSError) -> str:
    user = os.geteuid()
    # If others can move the folder, root might run this chown on another one.
    give = f"give it that folder: chown -h {user} {shlex.quote(str(outer))}, or "
    return (
        f"{outer} is not the gateway's alone ({problem}), and the gateway, as user {user}, cannot "
        f"make a folder for itself there ({error.strerror}); "
        f"{'' if _can_be_moved(outer) else give}{_ANOTHER}"
    )


@contextmanager
def where_paths_hold(folder: TrustedFolder, *names: str) -> Iterator[TrustedFolder]:
    """Open a folder whose files can be opened by path, whatever others do.

    That is ``folder`` itself, unless others can move it, or could once. Then it is the hidden
    folder, and the files ``names`` are moved there if the first of them still lies in ``folder``.
    """
    if folder.id(_HIDDEN) is None and not _can_be_moved(folder.path):
        yield folder
        return
    _mkdir(_HIDDEN, 0o700, folder.descriptor)
    with _open(_HIDDEN, folder.descriptor) as outer:
        status = os.fstat(outer)
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
            raise StateError(
                f"others could look into {folder.shown(_HIDDEN)}; stop the gateway and remove it: "
                f"rm -r {folder.quoted(_HIDDEN)}"
            )
        # Only processes of the gateway's user can open the folder, and so hold this lock.
        fcntl.flock(outer, fcntl.LOCK_EX)
        name = min(filter(_NO_GUESS.fullmatch, os.listdir(outer)), default="")
        if not name:
            name = secrets.token_hex(16)
            _mkdir(name, 0o700, outer)
        with _open(name, outer) as inner:
            safe = TrustedFolder(inner, folder.path / _HIDDEN / name, hidden=True)
            if names and safe.id(names[0]) is None and folder.id(names[0]) is not None:
                for each in reversed(names):
                    with suppress(FileNotFoundError):
                        os.rename(each, each, src_dir_fd=folder.descriptor, dst_dir_fd=inner)
            yield safe


def _why_not_ours(status: os.stat_result) -> str | None:
    """Say why a file or folder is not the gateway's alone; return ``None`` if it is."""
    if status.st_uid != os.geteuid():
        return f"it belongs to user {status.st_uid}"
    # The bits of the group also show what an access control list gives to others (acl(5)).
    return "others can write to it" if status.st_mode & _OTHERS_WRITE else None


def file_id(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
