"""End the processes that ``multiprocessing`` keeps beside a program.

Each namespace has a ``multiprocessing`` of its own, and so its own resource tracker (started by the
first code that makes a semaphore or shared memory) and its own fork server. Usually these end with
the process of the program. Here they end with the namespace.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

_HELPERS: Final = (
    # In this order: the fork server holds the tracker's pipe open.
    ("multiprocessing.forkserver", "_forkserver"),
    ("multiprocessing.resource_tracker", "_resource_tracker"),
)
PATIENCE: Final = 2.0
"""Seconds that we wait for each to end. One that a child of the program still uses ends with that
child."""


def end_helpers(modules: Mapping[str, ModuleType], patience: float) -> None:
    """End the helper processes that the ``multiprocessing`` among ``modules`` has started.

    ``patience`` is the number of seconds to wait for each of them.
    """
    for name, attribute in _HELPERS:
        helper: Any = getattr(modules.get(name), attribute, None)
        if helper is not None:
            ending = threading.Thread(
                target=_end, args=(helper,), name=f"end {attribute}", daemon=True
            )
            ending.start()
            ending.join(patience)


def _end(helper: Any) -> None:
    # The exit functions of the program have removed the folder with the fork server's socket.
    with contextlib.suppress(FileNotFoundError):
        helper._stop()
