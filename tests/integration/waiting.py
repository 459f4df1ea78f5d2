"""Waiting for something to become true, without guessing how long that takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE: Final = 60.0
"""Seconds after which something that should happen counts as never happening."""
_PAUSE: Final = 0.02


def until(condition: Callable[[], T], what: str, *, patience: float = PATIENCE) -> T:
    """Ask again and again, and return the first true answer.

    Raises ``TimeoutError``, which says that ``what`` did not happen in ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience:g} s: {what}")
        time.sleep(_PAUSE)
    return answer
