"""The processes that ``multiprocessing`` keeps beside a program, until that ends.

Each namespace has a ``multiprocessing`` of its own, so each has its own resource tracker (whoever
makes a semaphore or shared memory starts it) and its own fork server. They end with their
namespace; in a process of its own they would end with that.
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
"""Seconds for each to end; one that is held open by a child of the program ends with that."""


def end_helpers(modules: Mapping[str, ModuleType], patience: float) -> None:
    """Have the helpers end that the ``multiprocessing`` among ``modules`` has started.

    ``patience`` is how many seconds to wait for each of them.
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
    # The exit functions have removed the folder with the socket of the fork server.
    with contextlib.suppress(FileNotFoundError):
        helper._stop()
