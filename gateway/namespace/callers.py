"""Who is asking?

Code of the standard library is shared by all namespaces, and some of it has to find "the module
named X" or "the environment". The question is answered in this order:

1. the nearest calling frame whose builtins belong to a namespace (or to a unit of the environment
   layer) is the one that asks;
2. a frame of the process that is not shared code, or that executes a module of it, asks for the
   process itself: what it finds may be kept for ever, so it must not be a site's. Shared are the
   standard library and what ``share`` names; frames of this package ask for their callers, unless
   they say ``for_process``;
3. with neither on the stack (``executor.submit(pickle.loads, blob)``, the feeder thread of a
   ``multiprocessing.Queue``) it is the namespace that started the thread.

Context variables would be wrong where frames are right: threads that a project starts itself.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType, FunctionType, MethodType, ModuleType
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from gateway.namespace.tracebacks import internal

STDLIB = frozenset(sys.stdlib_module_names)

P = ParamSpec("P")
R = TypeVar("R")


class Domain(Protocol):
    """Something that owns modules: the namespace of a site, or a unit of the environment layer."""

    @property
    def modules(self) -> Mapping[str, ModuleType]:
        """What it has imported."""

    @property
    def transparent(self) -> bool:
        """True for units: they are asked first for modules, and never for an environment."""

    def import_module(self, name: str) -> ModuleType:
        """Import a module by its absolute name."""

    def finds(self, name: str) -> bool:
        """Whether ``import_module`` has something to import, as far as can be told without."""

    def brings(self, function: FunctionType) -> bool:
        """Whether ``function`` is from a unit of the environment that its code has."""


_BOUND = (MethodType, classmethod, staticmethod)
"""The types that have a function as ``__func__``. Others may run code of a site when asked."""

_domains: dict[int, weakref.ref[Domain]] = {}
_shared: set[str] = set(STDLIB)
_started: dict[int, tuple[weakref.ref[threading.Thread], weakref.ref[Domain]]] = {}
"""Whom threads work for, by the ids of their objects. These are not asked: a site may have written
their class."""
_workers: dict[int, weakref.ref[Domain]] = {}
"""Whom threads work for that ``_thread`` has started: nothing else knows of them."""
_unwrappers: list[Callable[[object], object | None]] = []
"""Functions that find what a wrapper calls which is neither a method nor a partial."""


def register(builtins: dict[str, Any], domain: Domain) -> None:
    """Let code that runs under ``builtins`` be known as the code of ``domain``.

    The entry goes when ``domain`` does; a domain owns its builtins dictionary, so the id that
    keys the entry cannot be taken over by another before that.
    """
    key = id(builtins)
    _domains[key] = weakref.ref(domain, lambda _: _domains.pop(key, None))


def registered() -> list[Domain]:
    """Every domain there is."""
    found = [reference() for reference in list(_domains.values())]
    return [domain for domain in found if domain is not None]


def domain_of(builtins: Mapping[str, Any]) -> Domain | None:
    """The domain whose code runs under ``builtins``."""
    reference = _domains.get(id(builtins))
    return reference() if reference is not None else None


def writer(function: FunctionType) -> Domain | None:
    """The domain whose code ``function`` is, ``None`` for the process."""
    return domain_of(cast(Any, function).__builtins__)


def domains(depth: int = 1) -> Iterator[Domain]:
    """Every domain that may be asking, the nearest first; ends where the process itself asks.

    ``depth`` counts the caller's frames to pass over, as for ``sys._getframe``.
    """
    frame: FrameType | None = sys._getframe(depth + 1)
    while frame is not None:
        reference = _domains.get(id(frame.f_builtins))
        domain = reference() if reference is not None else None
        if domain is not None:
            yield domain
            if not domain.transparent:
                return
        elif _speaks_for_process(frame):
            return
        frame = frame.f_back
    starter = thread_owner(threading.get_ident())
    if starter is not None:
        yield starter


def share(names: Iterable[str]) -> None:
    """Count modules of the process, by their top-level names, as code that sites share."""
    _shared.update(names)


@internal
def for_process(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call ``function`` so that, whoever called, it is the process that asks."""
    return function(*args, **kwargs)


def namespace(depth: int = 1) -> Domain | None:
    """The namespace that is asking, ``None`` for the process itself; ``depth`` as for `domains`."""
    nearest = domain_of(sys._getframe(depth + 1).f_builtins)
    if nearest is not None and not nearest.transparent:
        return nearest  # nearly always, and several times faster
    for domain in domains(depth + 1):
        if not domain.transparent:
            return domain
    return None


def _speaks_for_process(frame: FrameType) -> bool:
    if frame.f_code is for_process.__code__:
        return True
    name = frame.f_globals.get("__name__")
    if not isinstance(name, str):
        return True
    if name.partition(".")[0] in _shared:
        return frame.f_code.co_name == "<module>"
    return not name.startswith(__package__)  # our own frames ask on behalf of their callers


def thread_owner(ident: int) -> Domain | None:
    """The namespace noted for a running thread, if any."""
    thread = threading._active.get(ident)  # type: ignore[attr-defined]
    started, owner = _started.get(id(thread), (None, None))
    reference = owner if started is not None and started() is thread else _workers.get(ident)
    return reference() if reference is not None else None


def work_for(
    domain: weakref.ref[Domain],
    function: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Call ``function`` in a thread of its own, which is noted to work for ``domain``."""
    ident = threading.get_ident()
    _workers[ident] = domain
    try:
        function(*args, **kwargs)
    finally:
        del _workers[ident]


def own_thread(thread: threading.Thread, domain: Domain) -> None:
    """Note ``domain`` as the one that ``thread`` works for; the thread does not keep it alive."""
    key = id(thread)
    started = weakref.ref(thread, lambda _: _started.pop(key, None))
    _started[key] = started, weakref.ref(domain)


def author(value: object) -> Domain | None:
    """The namespace whose code wrote ``value``: a function or class of its own, or an instance.

    A class counts also if only one of its bases has functions of the namespace: it keeps that one
    in memory.
    """
    for function in _functions_of(value):
        domain = writer(function)
        if domain is not None and not domain.transparent:
            return domain
    return None


def _functions_of(value: object) -> Iterator[FunctionType]:
    """Yield the function in Python that a value is, or those of its class and of the bases."""
    if (function := written_function(value)) is not None:
        yield function
        return
    cls = value if isinstance(value, type) else type(value)
    for base in cls.__mro__:
        for attribute in list(vars(base).values()):
            if (function := written_function(attribute)) is not None:
                yield function


@contextlib.contextmanager
def unwrapping(unwrap: Callable[[object], object | None]) -> Iterator[None]:
    """Look into wrappers with ``unwrap`` for the time of the block; it returns what they call."""
    _unwrappers.append(unwrap)
    try:
        yield
    finally:
        _unwrappers.remove(unwrap)


def written_function(value: object) -> FunctionType | None:
    """The function in Python that a method, a partial or a wrapper calls.

    Types are asked with ``type``: a wrapper may answer to ``isinstance`` like what it wraps.
    """
    function: Any = value
    if not issubclass(type(value), FunctionType | functools.partial):
        found = (unwrap(value) for unwrap in _unwrappers)
        inner = next((each for each in found if each is not None), None)
        function = value if inner is None else inner
        if inner is None and issubclass(type(value), _BOUND):
            function = function.__func__
    if issubclass(type(function), functools.partial):
        return written_function(function.func)
    return function if type(function) is FunctionType else None
