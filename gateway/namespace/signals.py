"""Signals that a site sends to its own process, which is that of all sites, or to the one above it.

A site's handlers are never installed, so such a signal would reach those of the gateway, or end the
process. Instead it does, in the thread that sends it, what it would do to a program of its own. A
crash stays a crash, and a kill a kill: nothing could stand for these, so it is told before who
sends them (`gateway.namespace.exits`).

The process above is the supervisor of the workers, if there is one. It would end or replace all of
them, so what a site sends there is as if sent to its own process, and a kill is refused.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from enum import Enum, auto
from operator import index
from os import kill
from pathlib import Path
from signal import SIG_IGN, Signals, valid_signals
from typing import Any, Final, cast

from gateway.namespace import callers, exits
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


class _Reach(Enum):
    """Whom a signal would reach."""

    OTHERS = auto()
    PROCESS = auto()
    """The process of the site; perhaps its children, too."""
    ABOVE = auto()
    """The process above it, perhaps among others."""


def kill_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Make an ``os.kill`` for which the process of a site, and what is above, is the site alone."""
    return _to_the_asker(before, "os.kill", _reach_of_process)


def killpg_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Make an ``os.killpg`` for which the groups of these processes are the site alone."""
    return _to_the_asker(before, "os.killpg", _reach_of_group)


def pidfd_send_signal_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Make a ``signal.pidfd_send_signal`` for which these processes are the site alone."""
    return _to_the_asker(before, "signal.pidfd_send_signal", _reach_of_descriptor, at=1)


def raise_signal_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Make a ``signal.raise_signal`` that reaches the site which calls."""
    return _to_the_asker(before, "signal.raise_signal", lambda: _Reach.PROCESS, at=0)


def pthread_kill_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Make a ``signal.pthread_kill``, whose threads are always those of the process."""
    return _to_the_asker(before, "signal.pthread_kill", lambda thread: _Reach.PROCESS)


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


def _reach_of_process(pid: int) -> _Reach:
    """Tell whom kill(2) would reach."""
    if pid <= 0:
        return _reach_of_group(-pid)
    if pid == os.getpid():
        return _Reach.PROCESS
    return _Reach.ABOVE if pid == os.getppid() else _Reach.OTHERS


def _reach_of_group(group: int) -> _Reach:
    """Tell whom killpg(3) would reach: 0 is the own group, and 1 every process there is."""
    own, above = os.getpgrp(), _group_above()
    group = group or own
    if group in (1, above):
        return _Reach.ABOVE
    return _Reach.PROCESS if group == own else _Reach.OTHERS


def _group_above() -> int | None:
    """The group of the process above; ``None`` if there is none, or none that can be seen."""
    parent = os.getppid()
    try:
        return os.getpgid(parent) if parent else None
    except OSError:
        return None


def _reach_of_descriptor(descriptor: int) -> _Reach:
    """Tell whom a signal by a descriptor of pidfd_open(2) would reach."""
    try:
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
        pid = next(int(line[4:]) for line in lines if line.startswith("Pid:"))
    except (OSError, ValueError, StopIteration):
        return _Reach.OTHERS
    return _reach_of_process(pid) if pid > 0 else _Reach.OTHERS


def _to_the_asker(
    before: Callable[..., None], name: str, reach_of: Callable[..., _Reach], *, at: int = 1
) -> Callable[..., None]:
    """Make a function with a signal as its argument ``at``; ``reach_of`` gets those before it."""
    home = os.getpid()

    @functools.wraps(before)
    def send(*args: Any) -> None:
        namespace = _site_at_home(home)
        number = _number(args[at]) if len(args) > at else None
        if namespace is None or number is None:
            return before(*args)
        try:
            target = [index(arg) for arg in args[:at]]
            reach = reach_of(*target)
        except TypeError:
            return before(*args)  # which says what is wrong
        if reach is _Reach.OTHERS:
            return before(*target, number, *args[at + 1 :])
        if _deliver(namespace, number):
            return None
        signal = Signals(number).name
        if reach is _Reach.ABOVE and number in _UNHANDLED:
            raise PermissionError(
                errno.EPERM,
                f"a site cannot send {signal} to the process above its own, nor to a group with "
                "it: that would end or stop all sites",
            )
        if number != Signals.SIGSTOP:
            how = f"{name}({'…, ' if target else ''}{signal})"
            exits.tell(exits.Exit(namespace, how, -number, sys._getframe(1)))
        if reach is _Reach.ABOVE:
            return kill(home, number)
        return before(*target, number, *args[at + 1 :])

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
