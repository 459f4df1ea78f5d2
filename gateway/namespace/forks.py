"""What sites registered with ``os.register_at_fork``, which nobody can take back from Python.

One permanent hook of the process runs what the namespaces that are alive have recorded.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from gateway.namespace.namespace import Namespace
from gateway.namespace.recording import Hook

_registered = False


def register() -> None:
    """Have the hook in the process, from the first call on."""
    global _registered
    if not _registered:
        _registered = True
        os.register_at_fork(
            before=_before,
            after_in_parent=lambda: _after(1),
            after_in_child=lambda: _after(2),
        )


_forking: dict[int, list[tuple[Hook, Hook, Hook]]] = {}
"""By thread, what is replayed after its fork: exactly that which was replayed before."""


def _before() -> None:
    """Run what live namespaces registered with ``os.register_at_fork``.

    A forked child would otherwise dead-lock in a lock that a namespace's ``logging`` held. The
    order is the same in all threads, for the same reason.
    """
    registered = [
        entry for item in Namespace.alive() for entry in list(item.recorded.fork_functions)
    ]
    _forking[threading.get_ident()] = registered
    _call_all(before for before, _, _ in reversed(registered))


def _after(position: int) -> None:
    _call_all(entry[position] for entry in _forking.pop(threading.get_ident(), ()))


def _call_all(functions: Iterable[Hook]) -> None:
    errors: list[BaseException] = []
    for function in functions:
        try:
            if function is not None:
                function()
        except BaseException as exc:
            errors.append(exc)
    if errors:
        raise errors[0]  # Python reports it, and goes on
