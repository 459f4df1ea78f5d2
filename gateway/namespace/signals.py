"""Signals that a site sends to its own process, which is that of all sites.

A site's handlers are never installed, so such a signal would reach those of the gateway, or end the
process. Instead it does, in the thread that sends it, what it would do to a program of its own. A
crash stays a crash, and a kill a kill: nothing could stand for these.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from operator import index
from signal import SIG_IGN, Signals, valid_signals
from typing import Any, Final, cast

from gateway.namespace import callers
from gateway.namespace.namespace import Namespace

_UNHANDLED: Final = {Signals.SIGKILL, Signals.SIGSTOP}
"""Signals for which no program can have a handler."""
_CRASHES: Final = {
    Signals.SIGSEGV,
    Signals.SIGABRT,
    Signals.SIGBUS,
    Signals.SIGILL,
    Signals.SIGFPE,
}
_IGNORED: Final = {
    Signals.SIGCHLD,
    Signals.SIGCONT,
    Signals.SIGURG,
    Signals.SIGWINCH,
    # These stop a process that has a terminal, and nothing would wake the gateway.
    Signals.SIGTSTP,
    Signals.SIGTTIN,
    Signals.SIGTTOU,
}
"""Signals that do nothing where there is no handler."""


def kill_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Make an ``os.kill`` for which the process of a site, and its group, is the site alone."""
    return _to_the_asker(before, lambda pid: pid in (0, os.getpid(), -os.getpgrp()))


def killpg_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Make an ``os.killpg`` for which the group of the process is the site alone."""
    return _to_the_asker(before, lambda group: group in (0, os.getpgrp()))


def raise_signal_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Make a ``signal.raise_signal`` that reaches the site which calls."""
    return _to_the_asker(before, lambda: True)


def pthread_kill_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Make a ``signal.pthread_kill``, whose threads are always those of the process."""
    return _to_the_asker(before, lambda thread: True)


def interrupt_main_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Make an ``_thread.interrupt_main`` that interrupts the thread which calls, if a site does.

    As in Python, a signal that has no handler does nothing, and SIGINT has one.
    """

    home = os.getpid()

    @functools.wraps(before)
    def interrupt_main(*args: Any) -> None:
        namespace = _site_at_home(home)
        number = _number(*args or (Signals.SIGINT,)) if len(args) < 2 else None
        if namespace is None or number is None:
            before(*args)
        elif number == Signals.SIGINT or namespace.recorded.signal_handlers.get(number):
            _deliver(namespace, number)

    return interrupt_main


def _to_the_asker(before: Callable[..., None], reaches: Callable[..., bool]) -> Callable[..., None]:
    """Make a function whose last argument is a signal; ``reaches`` is asked with the others."""
    home = os.getpid()

    @functools.wraps(before)
    def send(*args: Any) -> None:
        namespace = _site_at_home(home)
        number = _number(args[-1]) if args else None
        if namespace is None or number is None:
            return before(*args)
        try:
            target = [index(arg) for arg in args[:-1]]
            ours = reaches(*target)
        except TypeError:
            return before(*args)  # which says what is wrong
        if not ours or not _deliver(namespace, number):
            before(*target, number)
        return None

    return send


def _site_at_home(home: int) -> Namespace | None:
    """The site that asks, unless it does so in a child that it has forked."""
    namespace = cast("Namespace | None", callers.namespace(depth=2))
    return namespace if os.getpid() == home else None


def _number(value: Any) -> int | None:
    """The number of a signal, ``None`` if it is none."""
    try:
        number = index(value)
    except TypeError:
        return None
    return number if number in valid_signals() else None


def _deliver(namespace: Namespace, number: int) -> bool:
    """Do to the calling thread what a signal does to a program; false if the process has to get it.

    Raises ``KeyboardInterrupt`` or ``SystemExit`` where the program would end, and what the handler
    raises.
    """
    if number in _UNHANDLED:
        return False
    handler = namespace.recorded.signal_handlers.get(number)
    if callable(handler):
        handler(number, sys._getframe(2))
        return True
    if handler is SIG_IGN:
        return True
    if number in _CRASHES:
        return False
    if number in _IGNORED:
        return True
    if number == Signals.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
