"""Make the changes to the process that namespaces need, and undo them.

Shared standard-library code reads ``os.environ``, starts threads and child processes, and imports
by name. With these few hooks it does so for the asker: the namespace whose code called it
(``callers.py``).
"""

from __future__ import annotations

import _posixsubprocess
import codecs
import contextlib
import functools
import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final, NoReturn, cast

from gateway.namespace import callers, encodings, forks, libraries, patches, slots, standins
from gateway.namespace.hooks import hooked
from gateway.namespace.importer import Modules
from gateway.namespace.namespace import Namespace
from gateway.namespace.views import Environ

_IMPORTED_LATE: Final = (
    "_strptime",  # by the C code of datetime and time
    "concurrent.futures.process",  # by ``__getattr__`` of the package, like the next one
    "concurrent.futures.thread",
)
"""Modules that the standard library itself imports when they are first used. They are imported
before there is a site. Later, their ``import calendar`` or ``import queue`` could find a stand-in,
and then they would use a site's module of that name."""

_installed = threading.Lock()


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Install the hooks for the time of the block.

    Raises ``RuntimeError`` if they are installed already.
    """
    if not _installed.acquire(blocking=False):
        raise RuntimeError("the namespace hooks are installed already")
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(callers.unwrapping(libraries.function_of))
            stack.enter_context(_dispatching_environ())
            stack.enter_context(_noting_the_starter_of_threads())
            stack.enter_context(_children_with_their_environment())
            stack.enter_context(_encodings_of_the_asker())
            stack.enter_context(hooked())
            forks.register()
            stack.enter_context(_standins())
            stack.enter_context(patches.confining())
            yield
    finally:
        _installed.release()


def _asking() -> Namespace | None:
    return cast("Namespace | None", callers.namespace(depth=2))


class _DispatchingEnviron(os._Environ):  # type: ignore[type-arg]
    """The class of ``os.environ`` while the hooks are installed: each asker sees its own values."""

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
    """Change the class of ``os.environ`` and ``os.environb`` for the time of the block.

    The objects stay the same, so code that holds one of them sees the change, too.
    """
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
        starter = cast("Namespace | None", callers.namespace())
        if starter is None:
            start(self)
            return
        callers.own_thread(self, starter)
        own = vars(self)
        # What the new thread calls first: whatever it does after that is the work of the starter.
        own["_bootstrap"] = functools.partial(slots.run_for, starter.name, self._bootstrap)  # type: ignore[attr-defined]
        try:
            start(self)
        finally:
            own.pop("_bootstrap", None)

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
    """Give the asker's environment to child processes that are started without an ``env``.

    Otherwise they would inherit the environment of the C library. ``fork_exec`` takes ``env`` as
    its sixth argument, a list of ``KEY=value``; ``posix_spawn`` as its third, a mapping. ``None``
    means to inherit (for ``posix_spawn`` since Python 3.13).
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
def _encodings_of_the_asker() -> Iterator[None]:
    codecs.register(encodings.search_for_the_asker)
    try:
        yield
    finally:
        codecs.unregister(encodings.search_for_the_asker)


@contextlib.contextmanager
def _standins() -> Iterator[None]:
    for name in _IMPORTED_LATE:
        importlib.import_module(name)
    finder = standins.Finder()
    sys.meta_path.insert(0, finder)
    try:
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] not in callers.STDLIB and isinstance(module, ModuleType):
                standins.ensure(name)
        for domain in callers.registered():  # these are units, which outlive the hooks
            modules = cast("Modules", domain.modules)
            for name in modules.keys() - modules.shared.keys():
                standins.ensure(name)
        yield
    finally:
        sys.meta_path.remove(finder)
        standins.remove_all()
