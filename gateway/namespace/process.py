"""The changes to the process that namespaces need, and their undoing.

Shared standard-library code reads ``os.environ``, starts threads and children, and imports by
name. These few hooks let it ask who is asking.
"""

from __future__ import annotations

import _frozen_importlib
import _posixsubprocess
import _thread
import codecs
import contextlib
import copy
import functools
import os
import shutil
import socket
import subprocess
import sys
import threading
import typing
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from types import ModuleType
from typing import Any, NoReturn, cast
from xml.etree import ElementTree

from gateway.namespace import callers, encodings, patches, standins
from gateway.namespace.importer import Modules
from gateway.namespace.namespace import Namespace
from gateway.namespace.recording import Hook
from gateway.namespace.views import Environ

_installed = threading.Lock()
_fork_hook_registered = False


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Have the hooks in the process for the time of the block; not reentrant."""
    if not _installed.acquire(blocking=False):
        raise RuntimeError("the namespace hooks are installed already")
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_dispatching_environ())
            stack.enter_context(_noting_the_starter_of_threads())
            stack.enter_context(_children_with_their_environment())
            stack.enter_context(_encodings_of_the_asker())
            for module, name, make in _SMALL_HOOKS:
                stack.enter_context(_replaced(module, name, make))
            _register_fork_hook()
            stack.enter_context(_standins())
            stack.enter_context(patches.confining())
            yield
    finally:
        _installed.release()


def _asking() -> Namespace | None:
    return cast("Namespace | None", callers.namespace(depth=2))


class _DispatchingEnviron(os._Environ):  # type: ignore[type-arg]
    """The real ``os.environ`` while namespaces are there: each asker sees its own."""

    @property
    def _data(self) -> Any:
        namespace = _asking()
        if namespace is None:
            return self.__dict__["_data"]
        environ = namespace.seen_environ()
        if isinstance(environ, Environ):
            return environ._data
        return {os.fsencode(key): os.fsencode(value) for key, value in environ.items()}

    def __setitem__(self, key: Any, value: Any) -> None:
        namespace = _asking()
        if namespace is None:
            super().__setitem__(key, value)
        else:
            raw_key, raw_value = self.encodekey(key), self.encodevalue(value)
            namespace.seen_environ()[os.fsdecode(raw_key)] = os.fsdecode(raw_value)

    def __delitem__(self, key: Any) -> None:
        namespace = _asking()
        if namespace is None:
            super().__delitem__(key)
        else:
            raw_key = self.encodekey(key)
            try:
                del namespace.seen_environ()[os.fsdecode(raw_key)]
            except KeyError:
                raise KeyError(key) from None


@contextlib.contextmanager
def _dispatching_environ() -> Iterator[None]:
    """Whoever holds ``os.environ`` already holds the object that now dispatches."""
    maps: list[Any] = [os.environ, os.environb]
    before = [item.__class__ for item in maps]
    for item in maps:
        item.__class__ = _DispatchingEnviron
    try:
        yield
    finally:
        for item, cls in zip(maps, before, strict=True):
            item.__class__ = cls


@contextlib.contextmanager
def _noting_the_starter_of_threads() -> Iterator[None]:
    start = threading.Thread.start

    def start_noting_owner(self: threading.Thread) -> None:
        starter = callers.namespace()
        if starter is not None:
            callers.own_thread(self, starter)
        start(self)

    start_noting_owner.__name__ = "start"
    start_noting_owner.__qualname__ = "Thread.start"
    start_noting_owner.__doc__ = start.__doc__
    threading.Thread.start = start_noting_owner  # type: ignore[method-assign]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]


@contextlib.contextmanager
def _children_with_their_environment() -> Iterator[None]:
    """A child started without an ``env`` inherits the C environment: give it the asker's.

    ``fork_exec`` takes ``env`` as a list of ``KEY=value`` in sixth place, ``posix_spawn`` as a
    mapping in third; ``None`` means to inherit (for the latter since Python 3.13).
    """
    fork_exec = _posixsubprocess.fork_exec

    def fork_exec_for_asker(*args: Any) -> Any:
        namespace = _asking() if args[5] is None else None
        if namespace is not None:
            env = [key + b"=" + value for key, value in namespace.environ.inherited.items()]
            args = (*args[:5], env, *args[6:])
        return fork_exec(*args)

    def for_asker(spawn: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(spawn)
        def spawn_for_asker(path: Any, argv: Any, env: Any, /, **kwargs: Any) -> int:
            namespace = _asking() if env is None else None
            return spawn(path, argv, namespace.environ.inherited if namespace else env, **kwargs)

        return spawn_for_asker

    def execv_for_asker(path: Any, argv: Any, /) -> NoReturn:
        namespace = _asking()
        if namespace is not None:
            os.execve(path, argv, namespace.environ.inherited)
        execv(path, argv)

    execv = os.execv
    replacements: list[tuple[ModuleType, str, Callable[..., Any]]] = [
        (_posixsubprocess, "fork_exec", fork_exec_for_asker),
        (subprocess, "_fork_exec", fork_exec_for_asker),
        (os, "execv", execv_for_asker),
        (os, "posix_spawn", for_asker(os.posix_spawn)),
        (os, "posix_spawnp", for_asker(os.posix_spawnp)),
    ]
    before = [getattr(module, name) for module, name, _ in replacements]
    for module, name, function in replacements:
        setattr(module, name, function)
    try:
        yield
    finally:
        for (module, name, _), function in zip(replacements, before, strict=True):
            setattr(module, name, function)


@contextlib.contextmanager
def _replaced(holder: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    before = getattr(holder, name)
    hook = make(before)
    setattr(holder, name, hook)
    try:
        yield
    finally:
        # Somebody else may have put his own in its place meanwhile; that stays.
        if getattr(holder, name) is hook:
            setattr(holder, name, before)


def _excepthook_of_the_thread(before: Callable[[Any], object]) -> Callable[[Any], object]:
    """An exception that ends a thread goes to the hook of the site that started it."""

    def excepthook(args: Any) -> object:
        ident = args.thread.ident if args.thread is not None else None
        owner = cast("Namespace | None", callers.thread_owner(ident)) if ident else None
        hook = owner.excepthook() if owner is not None else None
        return (hook or before)(args)

    return excepthook


def _noting_the_starter(before: Callable[..., int]) -> Callable[..., int]:
    """``_thread.start_new_thread``, which ``threading`` calls by a name of its own."""

    @functools.wraps(before)
    def start_new_thread(function: Any, args: Any, /, *kwargs: Any) -> int:
        starter = callers.namespace()
        valid = callable(function) and isinstance(args, tuple)
        if starter is None or not valid or [type(item) for item in kwargs] not in ([], [dict]):
            return before(function, args, *kwargs)
        return before(callers.work_for, (weakref.ref(starter), function, args, dict(*kwargs)))

    return start_new_thread


class _OfTheAsker(MutableMapping[Any, Any]):
    """A dictionary of shared code, of which each namespace has a copy of its own.

    Not for what is read all the time: each access looks for who is asking.
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
        return self._own()[key]  # which may be a defaultdict

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
    """A copy down to what is no dictionary: that may be impossible to copy."""
    twin = copy.copy(dictionary)
    twin.update((key, _copied(value)) for key, value in twin.items() if isinstance(value, dict))
    return twin


@contextlib.contextmanager
def _encodings_of_the_asker() -> Iterator[None]:
    codecs.register(encodings.search_for_the_asker)
    try:
        yield
    finally:
        codecs.unregister(encodings.search_for_the_asker)


def _init_with_the_timeout_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """A socket that a site opens has the default timeout that the site has set."""

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
    """What an interactive statement evaluates to is shown by the asker (``doctest``)."""

    def displayhook(value: Any, /) -> object:
        namespace = _asking()
        hook = before if namespace is None else namespace.import_module("sys").displayhook
        return hook(value)

    return displayhook


def _of_the_warnings_of_the_asker(before: Callable[..., None]) -> Callable[..., None]:
    """Shared code that adds a filter does so where ``warnings`` looks, with the asker."""

    @functools.wraps(before)
    def function(*args: Any, **kwargs: Any) -> None:
        namespace = _asking()
        if namespace is None:
            before(*args, **kwargs)
        else:
            getattr(namespace.import_module("warnings"), before.__name__)(*args, **kwargs)

    return function


def _enter_of_the_asker(before: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``contextlib.redirect_stdout`` in a site redirects what the site prints."""

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


_redirect: Any = contextlib.redirect_stdout.__base__

_SMALL_HOOKS: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (
    (_frozen_importlib, "_lock_unlock_module", standins.waiting),
    (sys, "displayhook", _displayhook_of_the_asker),
    (warnings, "_add_filter", _of_the_warnings_of_the_asker),
    (warnings, "resetwarnings", _of_the_warnings_of_the_asker),
    (threading, "excepthook", _excepthook_of_the_thread),
    (_thread, "start_new_thread", _noting_the_starter),
    (ElementTree, "_namespace_map", _OfTheAsker),
    (shutil, "_ARCHIVE_FORMATS", _OfTheAsker),
    (shutil, "_UNPACK_FORMATS", _OfTheAsker),
    (typing, "_overload_registry", _OfTheAsker),
    (socket.socket, "__init__", _init_with_the_timeout_of_the_asker),
    (_redirect, "__enter__", _enter_of_the_asker),
    (_redirect, "__exit__", _exit_of_the_asker),
)
"""Holder, name of the attribute, and what makes the hook of the attribute as it was."""


@contextlib.contextmanager
def _standins() -> Iterator[None]:
    finder = standins.Finder()
    sys.meta_path.insert(0, finder)
    try:
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] not in callers.STDLIB and isinstance(module, ModuleType):
                standins.ensure(name)
        for domain in callers.registered():  # units, which outlive the hooks
            modules = cast("Modules", domain.modules)
            for name in modules.keys() - modules.shared.keys():
                standins.ensure(name)
        yield
    finally:
        sys.meta_path.remove(finder)
        standins.remove_all()


def _register_fork_hook() -> None:
    """One permanent hook: ``os.register_at_fork`` cannot be undone."""
    global _fork_hook_registered
    if not _fork_hook_registered:
        _fork_hook_registered = True
        os.register_at_fork(
            before=_before_fork,
            after_in_parent=lambda: _after_fork(1),
            after_in_child=lambda: _after_fork(2),
        )


_forking: dict[int, list[tuple[Hook, Hook, Hook]]] = {}
"""By thread, what is replayed after its fork: exactly that which was replayed before."""


def _before_fork() -> None:
    """Run what live namespaces registered with ``os.register_at_fork``.

    A forked child would otherwise dead-lock in a lock that a namespace's ``logging`` held. The
    order is the same in all threads, for the same reason.
    """
    registered = [
        entry for item in Namespace.alive() for entry in list(item.recorded.fork_functions)
    ]
    _forking[threading.get_ident()] = registered
    _call_all(before for before, _, _ in reversed(registered))


def _after_fork(position: int) -> None:
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
