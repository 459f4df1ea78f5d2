"""Read files whose names people give: regular files only, without waiting, up to a size.

Opening a FIFO waits until somebody writes to it, reading ``/dev/zero`` never ends, and opening some
devices has an effect. A loop that reads such a file, like the watch of ``sites.json``, would stop
for ever. So every file that ``sites.json`` or a setting names is opened by this module.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_MAX_LINKS: Final = 40
_PIECE: Final = 1 << 20
_KINDS: Final = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnusableFileError(OSError):
    """Something that is not a regular file, or too large.

    ``strerror`` is the second half of a sentence that begins with the path. The error is an
    `OSError`, so that code which handles unreadable files handles it too.
    """


def kind_of(mode: int) -> str:
    """Return the kind of file that a mode (``st_mode``) stands for, such as ``a FIFO``."""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")


def why_not(error: OSError) -> str:
    """Say what is wrong with a file, in words that follow its name."""
    if isinstance(error, UnusableFileError):
        return str(error.strerror)
    return f"cannot be read ({error.strerror})"


def mode_of(path: Path) -> int | None:
    """Return the mode of what is at a path, after all links; ``None`` if nothing is.

    Raises ``OSError`` if that cannot be told, as for a path in a folder that cannot be entered.
    `Path.is_file` and its like do so for some errors only, and not for the same in every Python.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for a NUL character
        return None


def why_not_seen(path: Path, error: OSError) -> str:
    """Say what the error of `mode_of` means, in a sentence without a remedy."""
    return f"{path} cannot be looked at as user {os.geteuid()} ({error.strerror})"


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a regular file. Blocks only while the disk works.

    Raises ``UnusableFileError`` if it is something else or has more than ``limit`` bytes,
    ``OSError`` if it cannot be opened or read, ``ValueError`` if ``path`` holds a NUL character.
    """
    with opened(path) as descriptor:
        return read_all(descriptor, limit)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a regular file for reading, and yield its descriptor. Raises as `read_file` does."""
    # The kind is checked before, because opening a device may have an effect, and again on the
    # open file, because another file may have taken its place.
    _require_file(path.stat())
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _require_file(os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def read_all(descriptor: int, limit: int) -> bytes:
    """Return the rest of an open file. Raises ``UnusableFileError`` above ``limit`` bytes."""
    pieces: list[bytes] = []
    # The size is looked at first, so that a file that is far too large is not read at all. It is
    # not enough, because files grow, and files of /proc have the size 0.
    size = os.fstat(descriptor).st_size
    while size <= limit and (piece := os.read(descriptor, _PIECE)):
        pieces.append(piece)
        size = max(size, sum(map(len, pieces)))
    if size > limit:
        raise UnusableFileError(errno.EFBIG, f"has {size} bytes, and {limit} is the limit")
    return b"".join(pieces)


def _require_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnusableFileError(
            errno.EINVAL,
            f"is not a regular file but {kind_of(status.st_mode)}; put a file in its place, or "
            "name another one",
        )


def link_target(path: str) -> str | None:
    """Return the target of a symbolic link; ``None`` if ``path`` is not a link."""
    try:
        return os.readlink(path) if os.path.islink(path) else None
    except (OSError, ValueError):
        return None


def way_to(path: str, link: Callable[[str], str | None] = link_target) -> Iterator[str]:
    """Yield every symbolic link that ``path`` goes through, and then the path where it ends.

    ``path`` is absolute, and is followed as the kernel does it (path_resolution(7)). Nothing has to
    exist there. ``link`` returns the target of a link; a caller that follows many paths can give
    one with a cache.
    """
    here, parts, links = "/", path.split("/")[::-1], _MAX_LINKS
    while parts:
        part = parts.pop()
        if part in ("", os.curdir):
            continue
        step = os.path.dirname(here) if part == os.pardir else os.path.join(here, part)
        target = link(step) if links else None
        if target is None:
            here = step
            continue
        yield step
        links -= 1
        if target.startswith("/"):
            here = "/"
        parts.extend(target.split("/")[::-1])
    yield here
