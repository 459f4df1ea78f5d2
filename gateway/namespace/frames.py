"""What other threads are doing.

A frame belongs to its thread, which returns from it when it likes. Walking outwards is safe as long
as no thread can run in the middle of one step (``f_back``). In CPython 3.11 one can: the step makes
an object, which may start a garbage collection, which may run Python code and so let the thread go
on; the new object then describes a frame that is no more, and the process crashes or walks for
ever. Later versions collect between two instructions only.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from types import FrameType

from gateway.memory.switch import held


@contextlib.contextmanager
def of_all_threads() -> Iterator[Mapping[int, FrameType]]:
    """The innermost frame of each thread by its identifier, to be walked during the block."""
    with held():
        yield sys._current_frames()


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame, its caller, and so on."""
    while frame is not None:
        yield frame
        frame = frame.f_back
