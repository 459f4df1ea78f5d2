"""Code objects, compiled once and shared by every namespace that runs the same file.

They are immutable, so sharing is safe; it halves the memory and the load time of a further site.
An entry lives as long as a namespace holds it: the cache itself keeps nothing alive.

Python trusts a ``.pyc`` by the size of the source and its mtime in whole seconds, so a deploy of
the same size within the same second serves stale code. Here the key is the whole ``stat``
(nanoseconds, inode, ctime), and a file that changed a moment before it was read is known by its
content instead: file systems tick slower than deploys (git calls such an entry "racily clean").
A ``.pyc`` of a project is used only if it was written well after the last change of its source.
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
"""Nanoseconds after a change in which ``stat`` cannot vouch for the content."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """What tells one state of a file from another; ``digest`` only where ``stat`` does not."""

    path: str
    size: int
    mtime: int
    ctime: int
    inode: int
    digest: bytes


class CodeCache:
    """Code objects by the file they were compiled from; safe to use from any thread."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._codes: weakref.WeakValueDictionary[_Identity, CodeType] = (
            weakref.WeakValueDictionary()
        )
        self._clock = clock

    def get(self, path: str, compile_: Callable[[], CodeType]) -> CodeType:
        """The code of the file at ``path``, from ``compile_`` if nobody holds it.

        A file that vanishes or cannot be read is left to ``compile_``, whose error is the one
        that Python would give.
        """
        identity = self._identify(path)
        if identity is None:
            return compile_()
        code = self._codes.get(identity)
        if code is None:
            code = compile_()
            # The file may have changed while it was compiled: then the code is of either state,
            # and must not be handed to anybody else.
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
    """Whether the file ``bytecode`` can only have been compiled from ``source`` as it is now.

    One that cannot is removed, to be written anew, unless the source has changed just now: then
    another would be no better. Without one, it is asked whether one can be written. The change
    time is the one that counts: unpacking a release sets the modification time to anything.
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
