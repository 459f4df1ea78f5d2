"""The end of the process by the code of a site, which may call ``os._exit`` like anybody else.

Nothing of the process runs after that, nor after a signal that kills it, so whoever wants to know
that a site has done it is told before.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import index
from types import FrameType
from typing import NamedTuple, NoReturn

from gateway.namespace import callers


class Exit(NamedTuple):
    """What is about to end the process: the call of a namespace, and the frame that makes it.

    ``status`` is that of the process: the negative number of a signal if it is to die by that.
    """

    namespace: callers.Domain
    how: str
    status: int
    frame: FrameType


Attendant = Callable[[Exit], int]
"""Is told what is about to end the process; returns the status to take, which counts if it is none
of a signal."""

_attendants: list[Attendant] = []


@contextmanager
def attended(attendant: Attendant) -> Iterator[None]:
    """Call ``attendant`` before a namespace ends the process, for the time of the block."""
    _attendants.append(attendant)
    try:
        yield
    finally:
        _attendants.remove(attendant)


def tell(exit: Exit) -> int:
    """Tell the attendants that the process ends now, and return its status; never raises."""
    for attendant in _attendants:
        with suppress(BaseException):
            exit = exit._replace(status=attendant(exit))
    return exit.status


def exit_of_the_asker(before: Callable[[int], NoReturn]) -> Callable[[int], NoReturn]:
    """Make an ``os._exit`` that tells the attendant if a namespace calls; ``before`` is Python's.

    It ends the process whatever the attendant raises.
    """

    @functools.wraps(before)
    def _exit(status: int) -> NoReturn:
        namespace, taken = callers.namespace(), index(status)
        if namespace is not None:
            taken = tell(Exit(namespace, f"os._exit({taken})", taken, sys._getframe(1)))
        before(taken)

    return _exit
