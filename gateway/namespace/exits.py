"""The end of the process by ``os._exit``, which a site may call like any other function.

Nothing of the process runs after it, so whoever wants to know that a site has called it is told
before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import index
from typing import NoReturn

from gateway.namespace import callers

Attendant = Callable[[callers.Domain, int], int]
"""Is told which namespace ends the process and with what status; returns the status to take."""

_attendants: list[Attendant] = []


@contextmanager
def attended(attendant: Attendant) -> Iterator[None]:
    """Call ``attendant`` before a namespace ends the process, for the time of the block."""
    _attendants.append(attendant)
    try:
        yield
    finally:
        _attendants.remove(attendant)


def exit_of_the_asker(before: Callable[[int], NoReturn]) -> Callable[[int], NoReturn]:
    """Make an ``os._exit`` that tells the attendant if a namespace calls; ``before`` is Python's.

    It ends the process whatever the attendant raises.
    """

    @functools.wraps(before)
    def _exit(status: int) -> NoReturn:
        namespace, taken = callers.namespace(), index(status)
        if namespace is not None:
            for attendant in _attendants:
                with suppress(BaseException):
                    taken = attendant(namespace, taken)
        before(taken)

    return _exit
