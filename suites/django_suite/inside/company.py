"""A second thread for plain Python, at work as another copy of a suite is: shared classes, the
garbage collector, the GIL. What such a thread disturbs in plain Python no namespace can spare.
"""

from __future__ import annotations

import gc
import threading
from pathlib import Path


class _Cycle:
    """Garbage that lets other threads run while it is collected, as a database cursor does."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        Path(__file__).open().close()


def start() -> None:
    """Work until the process ends."""
    threading.Thread(target=_work, name="company", daemon=True).start()


def _work() -> None:
    while True:
        for _ in range(100):
            _Cycle()
        gc.collect()
