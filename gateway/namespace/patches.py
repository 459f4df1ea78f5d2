"""Confine the patches that code makes to the shared standard library.

Monitoring libraries replace methods of shared classes (``HTTPConnection.putrequest``,
``Popen.__init__``, ``Thread.start``), and projects replace functions of shared modules
(``ssl._create_default_https_context``). Left alone, such a patch sees the calls of all sites,
wraps itself again with every reload, and keeps its generation in memory. So each patch of a site is
taken out after the load. A dispatching function takes its place: it calls the function of the site
when the site calls, and the original for everybody else. A patch that a unit of the environment
layer made takes effect for all who have that unit.

The builtins of a function tell whose it is, so sites can load at the same time.

The end of a load is too late for modules whose functions are needed to define classes, such as
``typing``. `libraries` tells which these are. A patch of such a module is confined when it is made,
also a patch of the process.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from types import ClassMethodDescriptorType, CodeType, FunctionType, ModuleType
from typing import Any

from gateway.namespace import callers

Function = Callable[..., Any]

_LOADED_LATE = {"concurrent.futures": ("concurrent.futures.thread",)}
"""Submodules that a package loads only when somebody asks for one of their classes."""

_lock = threading.Lock()
_holders: dict[int, _Holder] = {}
_running = threading.local()


@contextlib.contextmanager
def confining() -> Iterator[None]:
    """Confine patches for the time of the block. After it, the process has no patch left.

    The patches of units come back with the next block, because units are never executed again.
    """
    with _lock:
        for holder in _holders.values():
            holder.put_in()
    try:
        yield
    finally:
        with _lock:
            for key, holder in list(_holders.items()):
                holder.take_out()
                if not holder.is_patched():
                    del _holders[key]


def watch(module: ModuleType, *, at_once: bool = False) -> None:
    """Remember the attributes of a shared module and its classes before a site can change them.

    The classes of a package's submodules are included, since a site reaches them through the
    package, without an import of the submodule. With ``at_once``, a patch of the module is confined
    when it is made; such a module is slower to read.
    """
    if id(module) in _holders:
        return
    for name in _LOADED_LATE.get(module.__name__, ()):
        watch(callers.for_process(importlib.import_module, name))
    with _lock:
        for holder in (module, *_classes_of(module)):
            if id(holder) not in _holders:
                kind = _HolderAtOnce if at_once and holder is module else _Holder
                _holders[id(holder)] = kind(holder)


def adopt() -> list[str]:
    """Confine the patches made since `watch`; returns what sites have patched, for people."""
    with _lock:
        return [name for holder in _holders.values() for name in holder.adopt()]


def release(domain: callers.Domain) -> None:
    """Forget the patches of ``domain``; attributes that nobody patches any more are restored."""
    with _lock:
        for holder in _holders.values():
            holder.release(domain)


class _Holder:
    """A shared module or class, with its original attributes and the patches of them."""

    def __init__(self, holder: Any) -> None:
        self._holder = holder
        self._before = dict(vars(holder))
        self._patches: dict[str, _Patch] = {}
        self.put_in()

    def put_in(self) -> None:
        """Make the known patches take effect."""
        for name, patch in self._patches.items():
            self._set(name, patch.dispatch)

    def take_out(self) -> None:
        """Restore the attributes of the process; remembers only the patches of units."""
        for name, patch in list(self._patches.items()):
            self._put_back(name)
            patch.of_sites.clear()
            patch.forget(None)
            if not patch.is_used():
                del self._patches[name]

    def is_patched(self) -> bool:
        """Tell whether there are patches to put in."""
        return bool(self._patches)

    def adopt(self) -> Iterator[str]:
        """Confine the attributes that were replaced; yields the names of those that sites replaced.

        Those that are confined already do not count.
        """
        for name, value in list(vars(self._holder).items()):
            if value is self._before.get(name):
                continue
            patch = self._patches.get(name)
            if patch is not None and value is patch.dispatch:
                continue
            domain = _author(value)
            if domain is None:
                continue
            if name in self._before and not _is_function(self._before[name]):
                # Code asks such a variable whether it is set (``threading._profile_hook``), and
                # what stands there for everybody is never unset.
                self._restore(name, None)
            else:
                self._confine(name, value, domain)
                if not domain.transparent:
                    yield f"{self._holder.__name__}.{name}"

    def release(self, domain: callers.Domain) -> None:
        """Forget the patches of a site."""
        for name, patch in list(self._patches.items()):
            patch.forget(domain)
            if not patch.is_used():
                self._put_back(name)
                del self._patches[name]
        for name, value in list(vars(self._holder).items()):
            # Not confined: it is a class, or was replaced after the load.
            if value is not self._before.get(name) and callers.author(value) is domain:
                patch_ = self._patches.get(name)
                self._restore(name, patch_.dispatch if patch_ else None)

    def _confine(self, name: str, value: Any, author: callers.Domain | None) -> None:
        patch = self._patches.get(name)
        if patch is None:
            patch = self._patches[name] = self._make_patch(name)
        patch.keep(author, value)
        self._set(name, patch.dispatch)

    def _make_patch(self, name: str) -> _Patch:
        return _Patch(name, self._before.get(name), self._holder)

    def _put_back(self, name: str) -> None:
        patch = self._patches[name]
        if vars(self._holder).get(name) is patch.dispatch:
            self._restore(name, patch.shared.get(None))

    def _restore(self, name: str, value: Any) -> None:
        """Set the attribute to ``value``; ``None`` means what it was before."""
        if value is None and name not in self._before:
            delattr(self._holder, name)
        else:
            self._set(name, self._before[name] if value is None else value)

    def _set(self, name: str, value: Any) -> None:
        setattr(self._holder, name, value)


class _HolderAtOnce(_Holder):
    """A shared module of which each patch is confined when it is made, even one of the process."""

    _holder: ModuleType

    def put_in(self) -> None:
        """Make the known patches take effect, and confine those that the process has made so far.

        From then on, assignments to the module go through `replace`.
        """
        for name, value in list(vars(self._holder).items()):
            if isinstance(value, FunctionType) and value.__globals__ is not vars(self._holder):
                original = self._as_written(name, value)
                if original is not None:
                    self._before[name] = original
                    self._confine(name, value, None)
        super().put_in()
        self._holder.__class__ = _Confining

    def take_out(self) -> None:
        """Restore the attributes of the process, and intercept assignments no longer."""
        ModuleType.__setattr__(self._holder, "__class__", ModuleType)
        super().take_out()

    def replace(self, name: str, value: Any) -> bool:
        """Confine the value assigned to ``name``; returns false if everybody is to see it."""
        patch = self._patches.get(name)
        author = _author(value)
        if author is not None:
            self._confine(name, value, author)
            return True
        asking = callers.namespace()
        if patch is not None and (value is patch.dispatch or value is self._before.get(name)):
            patch.forget(asking)  # mock.patch, for example, puts back what was there before
            return True
        if asking is None and name in self._before and callers.written_function(value) is not None:
            self._confine(name, value, None)
            return True
        return False

    def _as_written(self, name: str, replacement: FunctionType) -> FunctionType | None:
        """Return the function that the source of the module defines as ``name``.

        Its defaults are taken from ``replacement``, which has the same ones.
        """
        loader: Any = self._holder.__loader__
        for constant in loader.get_code(self._holder.__name__).co_consts:
            if isinstance(constant, CodeType) and constant.co_name == name:
                defaults = replacement.__defaults__
                return FunctionType(constant, vars(self._holder), name, defaults)
        return None

    def _make_patch(self, name: str) -> _Patch:
        patch = super()._make_patch(name)
        patch.dispatch = _Slot(patch, self._before.get(name))
        return patch

    def _set(self, name: str, value: Any) -> None:
        vars(self._holder)[name] = value  # not through our own __setattr__


class _Confining(ModuleType):
    """The class of a module whose patches are confined when they are made."""

    def __setattr__(self, name: str, value: Any) -> None:
        with _lock:
            holder = _holders.get(id(self))
            if isinstance(holder, _HolderAtOnce) and holder.replace(name, value):
                return
        super().__setattr__(name, value)


class _Patch:
    """One attribute that has been replaced. ``dispatch`` stands in its place.

    ``dispatch`` calls the function of whoever calls it, or else the original.
    """

    def __init__(self, name: str, original: Any, holder: Any) -> None:
        self.of_sites: weakref.WeakKeyDictionary[callers.Domain, Function] = (
            weakref.WeakKeyDictionary()
        )
        self.shared: dict[callers.Domain | None, Function] = {}
        """The functions of units, and that of the process under ``None``."""
        inherited = None if original is not None else _inherited(holder, name)
        as_written = original if inherited is None else inherited
        shown: Function = getattr(as_written, "__func__", as_written) or _missing(name)
        kind = _kind(name, as_written, holder)
        plain = shown if inherited is None else _of_base(name, kind, holder)

        @functools.wraps(shown)
        def dispatch(*args: Any, **kwargs: Any) -> Any:
            function = self.choose()
            # A site may have wrapped this very function. When the wrapper calls it, the original
            # is meant.
            if function is None or self in _calls_under_way():
                return plain(*args, **kwargs)
            _calls_under_way().add(self)
            try:
                function, args = _bound(function, kind, holder, args)
                return function(*args, **kwargs)
            finally:
                _calls_under_way().discard(self)

        self.dispatch: Any = dispatch if kind is FunctionType else kind(dispatch)

    def keep(self, author: callers.Domain | None, function: Function) -> None:
        """Remember ``function`` as the one of ``author``; ``None`` is the process."""
        if author is None or author.transparent:
            self.shared[author] = function
        else:
            self.of_sites[author] = function

    def forget(self, author: callers.Domain | None) -> None:
        """Forget the function of ``author``; ``None`` is the process."""
        self.shared.pop(author, None)
        if author is not None:
            self.of_sites.pop(author, None)

    def is_used(self) -> bool:
        """Tell whether anybody still has a function for this attribute."""
        return bool(self.of_sites or self.shared)

    def choose(self) -> Function | None:
        """Return the function that whoever calls is to get; ``None`` means the original."""
        nobody = True
        for domain in callers.domains():
            nobody = False
            function = self.of_sites.get(domain) or self._of_its_units(domain)
            if function is not None:
                return function
        return self.shared.get(None) if nobody else None

    def _of_its_units(self, domain: callers.Domain) -> Function | None:
        for function in list(self.shared.values()):
            inner = callers.written_function(function)
            if inner is not None and domain.brings(inner):
                return function
        return None


class _Slot:
    """Stands in a module in place of the function that the caller is to get.

    ``__call__`` is a property, so that no frame of ours stands between the two: what replaces a
    function may look at the frame of its caller.
    """

    def __init__(self, patch: _Patch, original: Any) -> None:
        self._patch = patch
        self._original: Function = original or _missing("function")

    @property
    def __call__(self) -> Function:
        function = self._patch.choose()
        # The replacement may call the original, and what it took for the original may be this slot.
        if function is None or sys._getframe(1).f_code is getattr(function, "__code__", None):
            return self._original
        return function


def _calls_under_way() -> set[_Patch]:
    if not hasattr(_running, "patches"):
        _running.patches = set()
    patches: set[_Patch] = _running.patches
    return patches


def _kind(name: str, original: Any, holder: Any) -> type[Any]:
    """The type that decides how an attribute is bound when it is read, by its original."""
    if isinstance(holder, type):
        if name == "__new__" or isinstance(original, staticmethod):
            return staticmethod
        if isinstance(original, classmethod | ClassMethodDescriptorType):
            return classmethod
    return FunctionType


def _inherited(holder: Any, name: str) -> Any:
    """The attribute that a class has from a base, as it stands there; ``None`` without one."""
    bases = holder.__mro__[1:] if isinstance(holder, type) else ()
    return next((vars(base)[name] for base in bases if name in vars(base)), None)


def _of_base(name: str, kind: type[Any], holder: type) -> Function:
    """A function that calls what ``holder`` inherits at that time: a base may be patched, too."""

    def inherited(*args: Any, **kwargs: Any) -> Any:
        owner: Any = holder
        if kind is classmethod or (kind is FunctionType and args and isinstance(args[0], holder)):
            owner, *rest = args
            args = tuple(rest)
        return getattr(super(holder, owner), name)(*args, **kwargs)

    return inherited


def _bound(
    function: Any, kind: type[Any], holder: Any, args: tuple[Any, ...]
) -> tuple[Function, tuple[Any, ...]]:
    """The replacement as a reader of the attribute would get it, and the arguments that are left.

    It need not be of the kind of the original. Any object with ``__get__`` can stand in a class.
    """
    if not isinstance(holder, type) or (kind is FunctionType is type(function)):
        return function, args
    instance, owner = None, holder
    if args and kind is classmethod:
        owner, *rest = args
        args = tuple(rest)
    elif args and kind is FunctionType:
        instance, *rest = args
        owner, args = type(instance), tuple(rest)
    bind = getattr(type(function), "__get__", None)
    return (bind(function, instance, owner) if bind else function), args


def _missing(name: str) -> Function:
    def absent(*args: Any, **kwargs: Any) -> Any:
        raise AttributeError(f"{name!r} is there for another site only")

    return absent


def _author(value: Any) -> callers.Domain | None:
    """Return the domain (a site's or a unit's) that wrote a replacement; ``None`` if none did."""
    function = callers.written_function(value)
    return None if function is None else callers.writer(function)


def _is_function(value: Any) -> bool:
    """Tell whether callers may take ``value`` for a function, as it stands in a module or class."""
    return callable(value) or hasattr(type(value), "__get__")


def _classes_of(module: ModuleType) -> Iterator[type]:
    for value in list(vars(module).values()):
        if (
            isinstance(value, type)
            and value.__module__.partition(".")[0] == module.__name__.partition(".")[0]
            and value.__flags__ & _HEAP_TYPE
        ):
            yield value


_HEAP_TYPE = 1 << 9
"""``Py_TPFLAGS_HEAPTYPE``: marks the classes that can be changed."""
