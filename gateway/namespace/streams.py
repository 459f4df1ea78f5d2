"""The standard streams as one namespace sees them.

All sites write to the streams of the process. A site may wrap its ``sys.stdout``, close it, or open
its descriptor once more, and Python closes what was wrapped or opened when that is collected. If it
were the stream of the process, nobody could write any more, and the next connection of a visitor
would get the number of the descriptor. So each namespace has streams of its own, which hand on what
is written to the stream that the process has at that moment. To close them has no effect on others.

There is no lock here: a garbage collection may run code of a site anywhere, which may write as
well. Nothing is kept either: what has been written is either handed on or still in the stream's
``TextIOWrapper``.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import io
import os
import resource
import sys
import time
from collections import deque
from types import ModuleType
from typing import Any, Final, NamedTuple, TextIO, TypeAlias

NAMES: Final = frozenset({"stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__"})
"""The attributes of ``sys`` that are standard streams."""
_HIGHEST_START: Final = 1 << 14
_ROUND: Final = 1 << 12
"""Numbers from the first one that copies have until the first one is taken again."""
_LATE: Final = 60.0
"""Seconds for which a copy stays open after its stream is gone. What else the site had made of its
number is collected with the stream, or a little later, and closes it as well."""

_Identity: TypeAlias = tuple[int, int, int]


class _Copy(NamedTuple):
    """A copy of a descriptor of the process; ``identity`` is that of its file."""

    number: int
    identity: _Identity


_copies: dict[int, _Copy] = {}
"""The copies that streams have now, or whose stream is gone."""
_left: deque[tuple[float, _Copy]] = deque()
"""The copies whose stream is gone, each with the moment when that was found out."""
_next = 0
"""The lowest number that the next copy may have."""


def give(own: dict[str, Any], name: str) -> Any:
    """Return ``sys.NAME`` for a view of ``sys`` that has none; it is made when it is first wanted.

    ``own`` are the attributes of the view. It is ``None`` as long as the process has no such
    stream.
    """
    which = name.strip("_")
    if (first := f"__{which}__") not in own:
        if getattr(sys, which, None) is None:
            return None
        own.setdefault(first, make(which))
    return own.setdefault(name, own[first])


def make(name: str) -> TextIO:
    """Make a stream that hands on to the ``sys.NAME`` of the process, or reads from it."""
    process = getattr(sys, name, None)
    encoding = getattr(process, "encoding", None) or "utf-8"
    errors = getattr(process, "errors", None) or _ERRORS[name]
    binary: Any = (
        io.BufferedReader(_Input(name, encoding)) if name == "stdin" else _Output(name, encoding)
    )
    stream: Any = _Text(binary, encoding, errors, newline="\n", line_buffering=name != "stdin")
    stream.mode = binary.mode[0]  # as Python's own have it
    return stream  # type: ignore[no-any-return]


def flush(view: ModuleType) -> list[BaseException]:
    """Write what is left in the streams of a view of ``sys``; returns what this raised.

    Python does so at the end of a process. A stream that is closed or detached has nothing left.
    """
    errors: list[BaseException] = []
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        stream = vars(view).get(name)
        try:
            if stream is not None and hasattr(stream, "flush"):
                stream.flush()
        except ValueError:
            pass
        except BaseException as exc:  # it may be an object of the site
            errors.append(exc)
    return errors


def reopen(descriptor: int, *args: Any, **kwargs: Any) -> Any:
    """Open a descriptor as ``io.open`` does, but a copy of those that belong to the process.

    Python closes what it opens when it is collected.
    """
    closes = args[5] if len(args) > 5 else kwargs.get("closefd", True)
    if not 0 <= descriptor < 3 or not closes:
        return open(descriptor, *args, **kwargs)
    number = copy_of(descriptor)
    try:
        return open(number, *args, **kwargs)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(number)
        raise


def copy_of(descriptor: int) -> int:
    """Return a new copy of a descriptor, for code of a site that may close it twice.

    Its number is one that no connection has: those get the lowest number that is free. And it was
    not used for long: who has closed it already may do so again when something is collected.
    """
    global _next
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    start = _HIGHEST_START if limit < 0 else min(limit * 3 // 4, _HIGHEST_START)
    if not start <= _next < start + _ROUND:
        _next = start
    for lowest in (_next, start, 3):
        try:
            number = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
        except OSError:
            if lowest == 3:
                raise
        else:
            _next = number + 1
            return number
    raise AssertionError("the last one either returns or raises")


_ERRORS: Final = {
    "stdin": "surrogateescape",
    "stdout": "surrogateescape",
    "stderr": "backslashreplace",
}


class _Text(io.TextIOWrapper):
    """A ``TextIOWrapper`` that is only flushed when it is collected.

    To close it would close what is below it for another wrapper, which has yet to flush: what is
    collected together is finalized in any order.
    """

    def __del__(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.flush()


class _Standard:
    """What the standard streams have in common."""

    mode = "wb"

    def __init__(self, name: str, encoding: str) -> None:
        self.name = f"<{name}>"
        self._name = name
        self._encoding = encoding
        self._copy: _Copy | None = None

    def __del__(self) -> None:
        """Leave the copy, but do not close: a wrapper that is collected later has yet to flush."""
        if self._copy is not None:
            _left.append((time.monotonic(), self._copy))

    @property
    def _process(self) -> Any:
        return getattr(sys, self._name, None)

    def isatty(self) -> bool:
        try:
            return bool(self._process.isatty())
        except (AttributeError, ValueError):
            return False

    def fileno(self) -> int:
        """Return a copy of the descriptor of the process, which the site may well close."""
        if (process := self._process) is None:
            raise io.UnsupportedOperation("fileno")
        descriptor = process.fileno()
        _close_left()
        identity = _identity(descriptor)
        copy = self._copy
        if copy is not None and identity == copy.identity == _identity(copy.number):
            return copy.number
        number = copy_of(descriptor)
        self._copy = _copies[number] = _Copy(number, identity or (0, 0, 0))
        if copy is not None:
            _left.append((time.monotonic(), copy))
        return number


class _Output(_Standard, io.BufferedIOBase):
    """Hands on what is written to a stream of the process. It keeps nothing, so it has no lock."""

    def __init__(self, name: str, encoding: str) -> None:
        super().__init__(name, encoding)
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    @property
    def raw(self) -> Any:
        """Itself: it has no buffer."""
        return self

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        """Hand on ``data``; raises ``OSError`` as the stream of the process does.

        If the process has no such stream, or has closed it, what is written is lost.
        """
        if self.closed:
            raise ValueError("write to closed file")
        size = memoryview(data).nbytes
        if (stream := self._process) is None:
            return size
        try:
            binary = getattr(stream, "buffer", None)
            if binary is None:
                stream.write(self._decoder.decode(bytes(data)))
                stream.flush()
            else:
                stream.flush()  # what was written before comes first
                binary.write(data)
                binary.flush()
        except ValueError:  # it is closed, or detached
            pass
        return size


class _Input(_Standard, io.RawIOBase):
    """Reads from the ``sys.stdin`` of the process, by lines: what follows is there for others."""

    mode = "rb"

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any, /) -> int:
        if (stream := self._process) is None:
            return 0
        binary = getattr(stream, "buffer", None)
        if binary is None:
            data = stream.readline(len(into) // 4).encode(self._encoding)
        else:
            data = binary.readline(len(into))
        into[: len(data)] = data
        return len(data)


def _identity(descriptor: int) -> _Identity | None:
    """Return what two descriptors of one file have in common; ``None`` if it is not open."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_rdev


def _close_left() -> None:
    """Close the copies whose stream is gone, and that nobody else has closed."""
    while _left:
        try:
            moment, copy = _left.popleft()
        except IndexError:  # another thread does the same
            return
        if time.monotonic() - moment < _LATE:
            _left.appendleft((moment, copy))
            return
        # The site may have closed it. Then the number may be that of another stream's copy, which
        # has the same file, or of anything else.
        if _copies.get(copy.number) is copy:
            del _copies[copy.number]
            if _identity(copy.number) == copy.identity:
                os.close(copy.number)
