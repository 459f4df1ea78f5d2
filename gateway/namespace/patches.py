"""Patches that a site makes to shared standard-library code.

Monitoring libraries replace methods of shared classes (sentry-sdk: ``HTTPConnection.putrequest``,
``Popen.__init__``, ``Thread.start``), and projects replace functions of shared modules
(``ssl._create_default_https_context``). Left alone, such a patch sees the calls of all sites,
wraps itself again with every reload, and keeps its generation in memory. So after a load whatever
a site has put there is taken out again, and a function takes its place that calls the site's for
the site and the original for everybody else.

A function tells by its builtins whose it is, so sites that load at the same time do not get in
each other's way.
"""

from __future__ import annotations

import functools
import importlib
import threading
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from gateway.namespace import callers

Function = Callable[..., Any]

_LOADED_LATE = {"concurrent.futures": ("concurrent.futures.thread",)}
"""Submodules that a package loads when somebody asks for a class of theirs."""

_lock = threading.Lock()
_holders: dict[int, _Holder] = {}
_running = threading.local()


def watch(module: ModuleType) -> None:
    """Remember how a shared module and its classes are, before a site can have changed them.

    A package brings classes of its submodules, which nobody need import by name.
    """
    if id(module) in _holders:
        return
    for name in _LOADED_LATE.get(module.__name__, ()):
        watch(callers.for_process(importlib.import_module, name))
    with _lock:
        for holder in (module, *_classes_of(module)):
            _holders.setdefault(id(holder), _Holder(holder))


def adopt() -> list[str]:
    """Confine the patches that sites have made since; returns what was patched, for people."""
    with _lock:
        return [name for holder in _holders.values() for name in holder.adopt()]


def release(domain: callers.Domain) -> None:
    """Forget the patches of ``domain``; what nobody patches any more is as it was."""
    with _lock:
        for holder in _holders.values():
            holder.release(domain)


def forget() -> None:
    """Take out all patches and watch nothing any more."""
    with _lock:
        for holder in _holders.values():
            holder.restore()
        _holders.clear()


class _Holder:
    """A shared module or class: its attributes as they were, and the patches of sites."""

    def __init__(self, holder: Any) -> None:
        self._holder = holder
        self._before = dict(vars(holder))
        self._patches: dict[str, _Patch] = {}

    def adopt(self) -> Iterator[str]:
        for name, value in list(vars(self._holder).items()):
            if value is self._before.get(name):
                continue
            patch = self._patches.get(name)
            if patch is not None and value is patch.dispatch:
                continue
            domain = callers.author(value)
            if domain is None or callers.written_function(value) is None:
                continue
            if patch is None:
                patch = self._patches[name] = _Patch(name, self._before.get(name))
            patch.functions[domain] = value
            setattr(self._holder, name, patch.dispatch)
            yield f"{self._holder.__name__}.{name}"

    def release(self, domain: callers.Domain) -> None:
        for name, patch in list(self._patches.items()):
            patch.functions.pop(domain, None)
            if not patch.functions:
                self._take_out(name)
        for name, value in list(vars(self._holder).items()):
            if value is not self._before.get(name) and callers.author(value) is domain:
                self._put_back(name)  # a class, or what was replaced after the load

    def restore(self) -> None:
        for name in list(self._patches):
            self._take_out(name)

    def _take_out(self, name: str) -> None:
        patch = self._patches.pop(name)
        if vars(self._holder).get(name) is patch.dispatch:
            self._put_back(name)

    def _put_back(self, name: str) -> None:
        if name in self._before:
            setattr(self._holder, name, self._before[name])
        else:
            delattr(self._holder, name)


class _Patch:
    """One attribute that sites have replaced; ``dispatch`` is what stands there instead."""

    def __init__(self, name: str, original: Any) -> None:
        self.functions: weakref.WeakKeyDictionary[callers.Domain, Function] = (
            weakref.WeakKeyDictionary()
        )
        plain: Function = getattr(original, "__func__", original) or _missing(name)

        @functools.wraps(plain)
        def dispatch(*args: Any, **kwargs: Any) -> Any:
            domain = callers.namespace()
            function = self.functions.get(domain) if domain is not None else None
            # What a site has wrapped may be this very function: the second time it means the
            # original.
            if function is None or self in _calls_under_way():
                return plain(*args, **kwargs)
            _calls_under_way().add(self)
            try:
                return getattr(function, "__func__", function)(*args, **kwargs)
            finally:
                _calls_under_way().discard(self)

        static = isinstance(original, staticmethod)
        self.dispatch: Any = staticmethod(dispatch) if static else dispatch


def _calls_under_way() -> set[_Patch]:
    if not hasattr(_running, "patches"):
        _running.patches = set()
    patches: set[_Patch] = _running.patches
    return patches


def _missing(name: str) -> Function:
    def absent(*args: Any, **kwargs: Any) -> Any:
        raise AttributeError(f"{name!r} is there for another site only")

    return absent


def _classes_of(module: ModuleType) -> Iterator[type]:
    for value in list(vars(module).values()):
        if (
            isinstance(value, type)
            and value.__module__.partition(".")[0] == module.__name__.partition(".")[0]
            and value.__flags__ & _HEAP_TYPE
        ):
            yield value


_HEAP_TYPE = 1 << 9
"""``Py_TPFLAGS_HEAPTYPE``: classes that can be changed at all."""
