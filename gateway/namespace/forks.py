"""Run the functions that sites registered with ``os.register_at_fork``.

Python offers no way to unregister them, and would run those of all sites around each fork. So a
namespace only records them, and one permanent hook of the process runs those of the namespace that
forks.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import cast

from gateway.namespace import callers, stacksizes
from gateway.namespace.namespace import Namespace
from gateway.namespace.recording import Hook

_registered = False


def register() -> None:
    """Register the hook with the process; later calls do nothing."""
    global _registered
    if not _registered:
        _registered = True
        os.register_at_fork(
            before=_before,
            after_in_parent=lambda: _after(1),
            after_in_child=lambda: _after(2),
        )
        os.register_at_fork(after_in_child=stacksizes.after_fork_in_child)


_forking: dict[int, list[tuple[Hook, Hook, Hook]]] = {}
"""By thread, the functions to run after its fork: those whose counterparts ran before it."""


def _before() -> None:
    """Run the ``before`` functions of the namespace that forks.

    Without them, a forked child could wait for ever for a lock that its ``logging`` held at the
    fork. What other namespaces hold does not matter: the child runs no code of theirs.
    """
    namespace = cast("Namespace | None", callers.namespace())
    registered = list(namespace.recorded.fork_functions) if namespace is not None else []
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
        raise errors[0]  # Python reports it and continues
