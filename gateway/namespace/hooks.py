"""Hooks for single attributes of shared code that have to be different for each namespace.

Each hook finds out whose code is calling (``callers.py``); this is "the asker". In each function
that makes a hook, ``before`` is the attribute as it was.
"""

from __future__ import annotations

import _frozen_importlib
import _signal  # type: ignore[import-not-found]
import _thread
import asyncio
import contextlib
import copy
import email.charset
import faulthandler
import functools
import os
import posix
import shutil
import signal
import socket
import sys
import threading
import typing
import warnings
import weakref
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Final, cast
from xml.etree import ElementTree

from gateway.namespace import (
    callers,
    exits,
    signals,
    slots,
    stacksizes,
    standins,
    threadstate,
)
from gateway.namespace.namespace import Namespace


@contextlib.contextmanager
def hooked() -> Iterator[None]:
    """Install all hooks for the time of the block."""
    with contextlib.ExitStack() as stack:
        for holder, name, make in _HOOKS:
            stack.enter_context(_replaced(holder, name, make))
        yield


@contextlib.contextmanager
def _replaced(holder: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    before = getattr(holder, name)
    hook = make(before)
    setattr(holder, name, hook)
    try:
        yield
    finally:
        # If other code has replaced the hook meanwhile, its replacement stays.
        if getattr(holder, name) is hook:
            setattr(holder, name, before)


def _asking() -> Namespace | None:
    return cast("Namespace | None", callers.namespace(depth=2))


def _excepthook_of_the_thread(before: Callable[[Any], object]) -> Callable[[Any], object]:
    """Pass an exception that ends a thread to the ``excepthook`` of the site that started it."""

    def excepthook(args: Any) -> object:
        ident = args.thread.ident if args.thread is not None else None
        owner = cast("Namespace | None", callers.thread_owner(ident)) if ident else None
        hook = owner.excepthook() if owner is not None else None
        return (hook or before)(args)

    return excepthook


def _noting_the_starter(before: Callable[..., int]) -> Callable[..., int]:
    """Remember which namespace starts a thread with ``_thread.start_new_thread``.

    ``threading`` has imported that function under another name, so its threads do not pass here.
    """

    @functools.wraps(before)
    def start_new_thread(function: Any, args: Any, /, *kwargs: Any) -> int:
        starter = cast("Namespace | None", callers.namespace())
        valid = callable(function) and isinstance(args, tuple)
        if starter is None or not valid or [type(item) for item in kwargs] not in ([], [dict]):
            return before(function, args, *kwargs)
        work = (callers.work_for, weakref.ref(starter), function, args, dict(*kwargs))
        return before(slots.run_for, (starter.name, *work))

    return start_new_thread


def _with_the_stack_of_the_starter(before: Callable[..., Any]) -> Callable[..., Any]:
    """Start a thread with a stack of the size that the site which starts it has set."""

    @functools.wraps(before)
    def start(*args: Any, **kwargs: Any) -> Any:
        namespace = _asking()
        size = namespace.recorded.stack_size if namespace is not None else 0
        return stacksizes.start(size, before, *args, **kwargs)

    return start


def _stack_size_of_the_asker(before: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(before)
    def stack_size(*sizes: int) -> int:
        namespace = _asking()
        if namespace is None or len(sizes) > 1:
            return before(*sizes)
        previous = namespace.recorded.stack_size
        for size in sizes:
            stacksizes.check(size)
            namespace.recorded.stack_size = size
        return previous

    return stack_size


class _Noting:
    """Stands for a function that changes something of its thread, which is noted before.

    ``__call__`` is a property, so that no frame of ours stands between: a profile function would
    see the return from it without the call. ``put_back`` gets the function, and returns what puts
    back the present state.
    """

    def __init__(
        self, function: Callable[..., Any], put_back: Callable[[Any], Callable[[], object]]
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._put_back = put_back

    @property
    def __call__(self) -> Callable[..., Any]:
        threadstate.note(self._function, functools.partial(self._put_back, self._function))
        return self._function


def _noting(put_back: Callable[[Any], Callable[[], object]]) -> Callable[[Any], _Noting]:
    return lambda before: _Noting(before, put_back)


def _mask_signals(before: Callable[..., Any]) -> Callable[[], object]:
    return functools.partial(before, signal.SIG_SETMASK, before(signal.SIG_BLOCK, ()))


def _put_back_umask(before: Callable[[int], int]) -> Callable[[], object]:
    """Where threads share one umask, it stays: others may have changed it meanwhile."""
    if not threadstate.of_this_thread().own_umask:
        return int
    umask = before(0o077)  # there is no way to ask
    before(umask)
    return functools.partial(before, umask)


def _noting_the_loop(before: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(before)
    def set_event_loop(loop: Any) -> None:
        before(loop)
        threadstate.note_loop(loop, before)

    return set_event_loop


class _OfTheAsker(MutableMapping[Any, Any]):
    """A dictionary of shared code of which each namespace has its own copy.

    Each access looks for the asker, so this is too slow for dictionaries that are read all the
    time.
    """

    def __init__(self, of_process: MutableMapping[Any, Any]) -> None:
        self._of_process = of_process

    def _own(self) -> MutableMapping[Any, Any]:
        namespace = _asking()
        if namespace is None:
            return self._of_process
        dictionaries = namespace.recorded.dictionaries
        if self not in dictionaries:
            dictionaries[self] = _copied(self._of_process)
        return dictionaries[self]

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __getitem__(self, key: Any) -> Any:
        return self._own()[key]  # it may be a defaultdict, which makes the value

    def __contains__(self, key: object) -> bool:
        return key in self._own()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._own()[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._own()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._own())

    def __len__(self) -> int:
        return len(self._own())

    def get(self, key: Any, default: Any = None) -> Any:
        return self._own().get(key, default)


def _copied(dictionary: MutableMapping[Any, Any]) -> MutableMapping[Any, Any]:
    """Copy a dictionary and the dictionaries in it, but no other values: some cannot be copied."""
    twin = copy.copy(dictionary)
    twin.update((key, _copied(value)) for key, value in twin.items() if isinstance(value, dict))
    return twin


def _init_with_the_timeout_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Give a socket that a site opens the default timeout that the site has set."""

    @functools.wraps(before)
    def __init__(self: socket.socket, *args: Any, **kwargs: Any) -> None:
        before(self, *args, **kwargs)
        namespace = _asking()
        if namespace is not None:
            timeout = namespace.recorded.socket_timeout
            if not isinstance(timeout, type):
                self.settimeout(timeout)

    return __init__


def _displayhook_of_the_asker(before: Callable[[Any], object]) -> Callable[[Any], object]:
    """Pass the value of an interactive statement to the asker's ``displayhook`` (``doctest``)."""

    def displayhook(value: Any, /) -> object:
        namespace = _asking()
        hook = before if namespace is None else namespace.import_module("sys").displayhook
        return hook(value)

    return displayhook


def _of_the_warnings_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Make shared code change the filters of the asker's ``warnings``, where they are read."""

    @functools.wraps(before)
    def function(*args: Any, **kwargs: Any) -> None:
        namespace = _asking()
        if namespace is None:
            before(*args, **kwargs)
        else:
            getattr(namespace.import_module("warnings"), before.__name__)(*args, **kwargs)

    return function


def _enter_of_the_asker(before: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make ``contextlib.redirect_stdout`` in a site redirect the output of that site."""

    def __enter__(self: Any) -> Any:
        namespace = _asking()
        if namespace is None:
            return before(self)
        target = namespace.import_module("sys")
        self._old_targets.append((target, getattr(target, self._stream)))
        setattr(target, self._stream, self._new_target)
        return self._new_target

    return __enter__


def _exit_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    def __exit__(self: Any, *exc_info: Any) -> None:
        if not isinstance(self._old_targets[-1], tuple):
            return before(self, *exc_info)
        target, stream = self._old_targets.pop()
        setattr(target, self._stream, stream)
        return None

    return __exit__


def _left_alone_by_sites(before: Callable[..., Any]) -> Callable[..., Any]:
    """Do nothing if a site calls: the process has one such timer or handler, the gateway's."""

    @functools.wraps(before)
    def function(*args: Any, **kwargs: Any) -> Any:
        return before(*args, **kwargs) if _asking() is None else None

    return function


_START: Final = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
_redirect: Any = contextlib.redirect_stdout.__base__

_HOOKS: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (
    (_frozen_importlib, "_lock_unlock_module", standins.waiting),
    (faulthandler, "dump_traceback_later", _left_alone_by_sites),
    (faulthandler, "cancel_dump_traceback_later", _left_alone_by_sites),
    (faulthandler, "register", _left_alone_by_sites),
    (faulthandler, "unregister", _left_alone_by_sites),
    (sys, "displayhook", _displayhook_of_the_asker),
    (warnings, "_add_filter", _of_the_warnings_of_the_asker),
    (warnings, "resetwarnings", _of_the_warnings_of_the_asker),
    (threading, "excepthook", _excepthook_of_the_thread),
    (_thread, "start_new_thread", _with_the_stack_of_the_starter),
    (_thread, "start_new_thread", _noting_the_starter),
    (os, "_exit", exits.exit_of_the_asker),
    (posix, "_exit", exits.exit_of_the_asker),
    (os, "kill", signals.kill_of_the_asker),
    (posix, "kill", signals.kill_of_the_asker),
    (os, "killpg", signals.killpg_of_the_asker),
    (posix, "killpg", signals.killpg_of_the_asker),
    (signal, "raise_signal", signals.raise_signal_of_the_asker),
    (_signal, "raise_signal", signals.raise_signal_of_the_asker),
    (signal, "pthread_kill", signals.pthread_kill_of_the_asker),
    (_signal, "pthread_kill", signals.pthread_kill_of_the_asker),
    *(
        (module, "pidfd_send_signal", signals.pidfd_send_signal_of_the_asker)
        for module in (signal, _signal)
        if hasattr(module, "pidfd_send_signal")
    ),
    (_thread, "interrupt_main", signals.interrupt_main_of_the_asker),
    (threading, _START, _with_the_stack_of_the_starter),
    (threading, "stack_size", _stack_size_of_the_asker),
    (_thread, "stack_size", _stack_size_of_the_asker),
    (sys, "settrace", _noting(lambda before: functools.partial(before, sys.gettrace()))),
    (sys, "setprofile", _noting(lambda before: functools.partial(before, sys.getprofile()))),
    (
        sys,
        "set_asyncgen_hooks",
        _noting(lambda before: functools.partial(before, *sys.get_asyncgen_hooks())),
    ),
    (
        sys,
        "set_coroutine_origin_tracking_depth",
        _noting(
            lambda before: functools.partial(before, sys.get_coroutine_origin_tracking_depth())
        ),
    ),
    (signal, "pthread_sigmask", _noting(_mask_signals)),
    (os, "umask", _noting(_put_back_umask)),
    (asyncio, "set_event_loop", _noting_the_loop),
    (asyncio.events, "set_event_loop", _noting_the_loop),
    (email.charset, "ALIASES", _OfTheAsker),
    (email.charset, "CHARSETS", _OfTheAsker),
    (email.charset, "CODEC_MAP", _OfTheAsker),
    (ElementTree, "_namespace_map", _OfTheAsker),
    (shutil, "_ARCHIVE_FORMATS", _OfTheAsker),
    (shutil, "_UNPACK_FORMATS", _OfTheAsker),
    (typing, "_overload_registry", _OfTheAsker),
    (socket.socket, "__init__", _init_with_the_timeout_of_the_asker),
    (_redirect, "__enter__", _enter_of_the_asker),
    (_redirect, "__exit__", _exit_of_the_asker),
)
"""For each hook: the module or class, the name of the attribute, and the function that makes the
hook from the attribute as it was."""
