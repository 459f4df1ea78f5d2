"""Look at the frames of other threads.

A frame belongs to its thread, which may return from it at any time. Walking outwards is safe as
long as no other thread can run in the middle of one step (``f_back``). In CPython 3.11 this can
happen. The step makes an object; this may start a garbage collection, which may run Python code and
so let the thread continue. The new object then describes a frame that no longer exists, and the
process crashes or walks for ever. Later versions collect only between two instructions.

What frames say is told without the lines of the source. `linecache` opens the file that the code
names, which may be a pipe, or on a disk that hangs, and asks the loaders of a site for lines. The
names themselves may be of a subclass of ``str`` whose methods a site has written.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from types import FrameType
from typing import Final, NamedTuple

from gateway.memory.switch import held

MOST: Final = 100
"""The number of frames of a stack that are told."""
_LONGEST: Final = 4096
"""The number of characters of a name that are told."""


class Place(NamedTuple):
    """Where a frame is. The texts are exact strings in one line, fit to be written anywhere."""

    file: str
    line: int | None
    name: str
    qualified_name: str

    def __str__(self) -> str:
        """Write it as `faulthandler` does."""
        return f'  File "{self.file}", line {self.line} in {self.name}'


@contextlib.contextmanager
def of_all_threads() -> Iterator[Mapping[int, FrameType]]:
    """Yield the innermost frame of each thread by its identifier; walk them in the block only.

    One of them is that of this function. So what refers to all of them has to be emptied, or only a
    collection would free it, and with it all that the code of sites had in its variables.
    """
    with held():
        innermost = sys._current_frames()
        try:
            yield innermost
        finally:
            innermost.clear()


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame, its caller, and so on."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def place(frame: FrameType) -> Place:
    """Tell where a frame is; calls no code of a site, and opens no file."""
    code = frame.f_code
    texts = (_exact(text) for text in (code.co_filename, code.co_name, code.co_qualname))
    file, name, qualified_name = texts
    return Place(file, frame.f_lineno, name, qualified_name)


def places(frame: FrameType | None, most: int = MOST) -> list[Place]:
    """Tell where a frame is, its caller, and so on; of more than ``most``, the innermost."""
    return [place(each) for each in islice(outwards(frame), most)]


def _exact(text: str) -> str:
    exact = str.__str__(text)[:_LONGEST]
    return exact if exact.isprintable() else repr(exact)[1:-1]
