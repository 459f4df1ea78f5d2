"""Other processes of the machine, which compute all the time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

_COMPUTE: Final = "while True: pass"


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Have so many of them, for the time of the block."""
    with ExitStack() as stack:
        for _ in range(count):
            neighbour = subprocess.Popen([sys.executable, "-c", _COMPUTE])
            stack.callback(neighbour.wait)
            stack.callback(neighbour.kill)
        yield
