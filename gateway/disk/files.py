"""Reading files by names that people give: regular files only, never waiting, never too much.

Opening a FIFO waits until somebody writes to it, reading ``/dev/zero`` never ends, and opening some
devices does something. Whoever reads in a loop, as the watch of ``sites.json`` does, would stand
still for ever. So what is read by a name from ``sites.json`` or from a setting is opened here.
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
    """There is something, but it is no regular file, or too large; ``strerror`` is a predicate.

    As an `OSError` it is met by whoever deals with files that cannot be read.
    """


def kind_of(mode: int) -> str:
    """Return what a mode (``st_mode``) says that something is, such as ``a FIFO``."""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")


def why_not(error: OSError) -> str:
    """Return what is wrong with a file, to stand behind its name."""
    if isinstance(error, UnusableFileError):
        return str(error.strerror)
    return f"cannot be read ({error.strerror})"


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a regular file. Blocks no longer than its disk.

    Raises ``UnusableFileError`` if it is something else or has more than ``limit`` bytes,
    ``OSError`` if it cannot be opened or read, ``ValueError`` if ``path`` holds a NUL character.
    """
    with opened(path) as descriptor:
        return read_all(descriptor, limit)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a regular file for reading; a descriptor. Raises as `read_file` does."""
    # Before, because to open a device is to use it; afterwards, because it may be another one.
    _require_file(path.stat())
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _require_file(os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def read_all(descriptor: int, limit: int) -> bytes:
    """Return what is left to read. Raises ``UnusableFileError`` if that exceeds ``limit`` bytes."""
    pieces: list[bytes] = []
    # The size is asked first, so that a file that is far too large is not read at all; it is not
    # relied on, because files grow, and those of /proc have none.
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
    """Return where a symbolic link points; ``None`` for what is none."""
    try:
        return os.readlink(path) if os.path.islink(path) else None
    except (OSError, ValueError):
        return None


def way_to(path: str, link: Callable[[str], str | None] = link_target) -> Iterator[str]:
    """Yield every symbolic link on the way to where ``path`` leads, and last that place.

    ``path`` is absolute; it is walked as the kernel walks it (path_resolution(7)). Nothing has to
    be there. Who follows many paths gives a ``link`` that remembers.
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
