"""For whom each thread works, in memory that may outlive the process.

When the process crashes, `faulthandler` tells which thread it was, by its identifier. Whoever reads
the memory afterwards finds there for which namespace that thread worked. A thread takes a *slot* of
its own, shows in it whose code it is about to run, and gives it back when it ends.

The memory is private until somebody keeps the slots elsewhere (`kept_in`). A child made by ``fork``
goes on with private memory, so that it never writes into that of its parent.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from mmap import mmap
from typing import Final

COUNT: Final = 511
"""Slots that can be found. Threads beyond that share one that is not."""
SLOT: Final = 128
"""Bytes of a slot: the identifier of its thread, 0 for none, and the name that it shows."""
SIZE: Final = (COUNT + 1) * SLOT
"""Bytes of all slots."""

LOADING: Final = "load "
"""Comes before the name of a namespace whose code is being loaded."""

_IDENT: Final = 8

_memory: bytearray | mmap = bytearray(SIZE)
_free: Final = list(range(COUNT))
_follows_forks = False


def shown(name: str) -> bytes:
    """Return a name as `Slot.show` takes it. It is cut where a slot ends."""
    return name.encode()[: SLOT - _IDENT].ljust(SLOT - _IDENT, b"\0")


NOBODY: Final = shown("")


class Slot:
    """The slot of the calling thread, from now until `give_back`."""

    __slots__ = ("_name", "_number", "_start")

    def __init__(self) -> None:
        try:
            self._number = _free.pop()
        except IndexError:
            self._number = COUNT
        self._start = self._number * SLOT
        self._name = slice(self._start + _IDENT, self._start + SLOT)
        _memory[self._name] = NOBODY
        # In one step: a reader finds either no thread here or this one.
        _memory[self._start : self._start + _IDENT] = _bytes_of(threading.get_ident())

    def show(self, name: bytes) -> None:
        """Say for whom the thread works from now on, with what `shown` has returned."""
        _memory[self._name] = name

    def give_back(self) -> None:
        """Let another thread have the slot. To be called once, before the thread ends."""
        _memory[self._start : self._start + _IDENT] = _bytes_of(0)
        if self._number < COUNT:
            _free.append(self._number)


@contextmanager
def working_for(name: str) -> Iterator[None]:
    """Show for the time of the block that the thread, which has no slot, works for ``name``."""
    slot = Slot()
    try:
        slot.show(shown(name))
        yield
    finally:
        slot.give_back()


def run_for(name: str, function: Callable[..., object], *args: object) -> None:
    """Call ``function`` as all that a thread does, and show meanwhile that it is for ``name``."""
    with working_for(name):
        function(*args)


@contextmanager
def kept_in(memory: mmap) -> Iterator[None]:
    """Keep the slots in ``memory`` of `SIZE` bytes for the time of the block."""
    _follow_forks()
    _move(memory)
    try:
        yield
    finally:
        _move(bytearray(SIZE))


def name_of(memory: bytes, ident: int) -> str:
    """Return for whom the thread with this identifier works; empty if that is not known."""
    for start in range(0, COUNT * SLOT, SLOT):
        if memory[start : start + _IDENT] == _bytes_of(ident):
            return memory[start + _IDENT : start + SLOT].rstrip(b"\0").decode(errors="replace")
    return ""


def name_of_this_thread() -> str:
    """Return for whom the calling thread says that it works; empty if it does not say."""
    return name_of(bytes(_memory[:]), threading.get_ident())


def _bytes_of(ident: int) -> bytes:
    return ident.to_bytes(_IDENT, "little")


def _move(memory: bytearray | mmap) -> None:
    global _memory
    memory[:] = _memory[:]
    _memory = memory


def _follow_forks() -> None:
    global _follows_forks
    if not _follows_forks:
        _follows_forks = True
        os.register_at_fork(after_in_child=lambda: _move(bytearray(SIZE)))
