"""Code objects, compiled once and shared by every namespace that runs the same file.

They are immutable, so sharing is safe. It halves the memory and the load time of a further site.
An entry lives as long as a namespace holds it: the cache itself keeps nothing alive.

Python decides whether a ``.pyc`` is valid by the size of the source and its mtime in whole seconds,
so a deploy of the same size within the same second would serve old code. Here the key consists of
all that ``stat`` tells (nanoseconds, inode, ctime). If a file changed shortly before it was read,
its content is part of the key, too, because the clocks of file systems are too coarse to tell two
such changes apart (git calls such an entry "racily clean"). A ``.pyc`` of a project is used only if
it was written well after the last change of its source.
"""

from __future__ import annotations

import hashlib
import os
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType

_RACY = 2_000_000_000
"""Nanoseconds after a change in which the content can change again and ``stat`` stay the same."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """The values that differ between two states of a file.

    ``digest``, that of the content, is empty where ``stat`` alone is enough.
    """

    path: str
    size: int
    mtime: int
    ctime: int
    inode: int
    digest: bytes


class CodeCache:
    """Code objects by the file they were compiled from. Any thread may use it."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._codes: weakref.WeakValueDictionary[_Identity, CodeType] = (
            weakref.WeakValueDictionary()
        )
        self._clock = clock

    def get(self, path: str, compile_: Callable[[], CodeType]) -> CodeType:
        """Return the code of the file at ``path``; calls ``compile_`` if nobody holds it.

        If the file vanishes or cannot be read, ``compile_`` is called and raises the error that
        Python would raise.
        """
        identity = self._identify(path)
        if identity is None:
            return compile_()
        code = self._codes.get(identity)
        if code is None:
            code = compile_()
            # The file may have changed while it was compiled. Then nobody knows which state the
            # code is of, and nobody else must get it.
            if self._identify(path) == identity:
                code = self._codes.setdefault(identity, code)
        return code

    def _identify(self, path: str) -> _Identity | None:
        try:
            st = os.stat(path)
            digest = b""
            if self._clock() - max(st.st_ctime_ns, st.st_mtime_ns) < _RACY:
                with open(path, "rb") as file:
                    digest = hashlib.blake2b(file.read(), digest_size=16).digest()
        except OSError:
            return None
        return _Identity(path, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino, digest)


CODE = CodeCache()


def bytecode_is_newer(source: str, bytecode: str) -> bool:
    """Tell whether Python may use the file ``bytecode`` for ``source``, or write it.

    It may use a file that was written well after the last change of the source. Another file is
    removed, so that Python writes it anew. If the source has changed just now, the answer is false,
    and the file stays: a new one would be no better. The time of change (ctime) is compared,
    because unpacking a release can set the modification time to anything.
    """
    try:
        changed = os.stat(source).st_ctime_ns
        try:
            written = os.stat(bytecode).st_mtime_ns
        except FileNotFoundError:
            return time.time_ns() - changed > _RACY
        if written - changed > _RACY:
            return True
        if time.time_ns() - changed > _RACY:
            os.unlink(bytecode)
            return True
    except OSError:
        pass
    return False
