"""Look at the frames of other threads.

A frame belongs to its thread, which may return from it at any time. Walking outwards is safe as
long as no other thread can run in the middle of one step (``f_back``). In CPython 3.11 this can
happen. The step makes an object; this may start a garbage collection, which may run Python code and
so let the thread continue. The new object then describes a frame that no longer exists, and the
process crashes or walks for ever. Later versions collect only between two instructions.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from types import FrameType

from gateway.memory.switch import held


@contextlib.contextmanager
def of_all_threads() -> Iterator[Mapping[int, FrameType]]:
    """Yield the innermost frame of each thread by its identifier; walk them in the block only."""
    with held():
        yield sys._current_frames()


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame, its caller, and so on."""
    while frame is not None:
        yield frame
        frame = frame.f_back
