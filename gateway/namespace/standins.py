"""Stand-ins in the interpreter's own ``sys.modules``.

C code and shared standard-library code (``pickle``, ``dataclasses``, ``typing.get_type_hints``,
Cython's import statement) look up "the module named X" there. So a stand-in takes the place of a
module for every name that a namespace holds privately, and for every module that the process itself
has imported from outside the standard library. It passes each access on to the module of the asker:
the namespace, the unit or the process whose code makes the access (``callers.py``).

A stand-in must never hide a module that the process has not imported yet. When the process asks it,
it imports the real one.
"""

from __future__ import annotations

import _frozen_importlib
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from types import FrameType, ModuleType
from typing import Any

from gateway.namespace import callers
from gateway.namespace.tracebacks import internal

_NAME = "_gateway_name"
_ABSENT: Any = object()
_OF_THE_IMPORT_SYSTEM = frozenset(
    {"__spec__", "__loader__", "__package__", "__path__", "__name__", "__file__", "__cached__"}
)
"""Attributes that the interpreter's import system sets on a module that it has created."""

_UNTOUCHED = frozenset(
    {
        "_frozen_importlib",
        "_frozen_importlib_external",
        "importlib._bootstrap",
        "importlib._bootstrap_external",
        # Namespaces have views of these. A view shares its classes with the module that it shows,
        # so code that looks up a class finds the same one in both.
        "atexit",
        "builtins",
        "os",
        "signal",
        "sys",
        "time",
    }
)

_LOADING = _frozen_importlib._find_and_load_unlocked.__code__  # type: ignore[attr-defined]

_lock = threading.RLock()
_stdlib_lock = threading.RLock()
_real: dict[str, ModuleType | None] = {}
"""The process's own modules behind the stand-ins. ``None`` means that the process forbids the
import, as ``None`` in ``sys.modules`` does."""
_aside: dict[str, StandIn] = {}
"""Stand-ins that were taken out of ``sys.modules`` while the process imports its own module."""


class StandIn(ModuleType):
    """Stands in ``sys.modules`` for all the modules that have one name.

    Reading an attribute imports nothing, because much code walks over ``sys.modules``. For an asker
    that has no such module, ``__spec__`` says that the module is being initialised. So an import of
    the name calls the function made by `waiting`, which imports it.
    """

    def __getattribute__(self, attribute: str) -> Any:
        name = _name_of(self)
        module = _held(name)
        if module is None and attribute == "__path__" and sys._getframe(1).f_code is _LOADING:
            module = _import(name)  # a module below it is being imported
        if module is not None:
            try:
                return getattr(module, attribute)
            except AttributeError:
                if _move_attribute(self, attribute, module):
                    return getattr(module, attribute)
                below = f"{name}.{attribute}"
                if below not in sys.modules or module is replaced(name) or not _is_stdlib(name):
                    raise
                # Shared code imported this submodule once, and takes it to be there for everybody.
                return _import(below)
        match attribute:
            case "__class__":
                return ModuleType
            case "__spec__":
                spec = importlib.machinery.ModuleSpec(name, None)
                spec._initializing = True  # type: ignore[attr-defined]
                return spec
            case "__dict__":
                return {}
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}")

    def __setattr__(self, attribute: str, value: object) -> None:
        # Two things concern nobody: the attributes that the import system sets on a module that it
        # has created, and stand-ins for submodules that it binds.
        if attribute not in _OF_THE_IMPORT_SYSTEM and type(value) is not StandIn:
            setattr(_module(_name_of(self), attribute), attribute, value)

    def __delattr__(self, attribute: str) -> None:
        delattr(_module(_name_of(self), attribute), attribute)

    def __bool__(self) -> bool:
        """Tell whether the asker has such a module.

        Code that tests the result of ``sys.modules.get`` expects a false value if there is none.
        """
        return _held(_name_of(self)) is not None

    def __dir__(self) -> Iterable[str]:
        return dir(_module(_name_of(self), "__dir__"))

    def __repr__(self) -> str:
        return f"<module {_name_of(self)!r} of whoever asks (a gateway stand-in)>"


class Finder(importlib.abc.MetaPathFinder):
    """Answers imports that shared code or C code makes on behalf of a namespace.

    ``pickle`` (the Python one) and Cython call the interpreter's import system, not the
    ``__import__`` of the code that called them. The finder comes first on ``sys.meta_path``,
    because the process may have another package of that name.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if _is_stdlib(fullname):
            return None
        for domain in callers.domains():
            if domain.finds(fullname):
                return importlib.machinery.ModuleSpec(fullname, _Loader(domain))
        return None


class _Loader(importlib.abc.Loader):
    """Imports a module into a domain.

    This is not done in the finder for two reasons. ``find_spec`` runs under the lock that every
    import of the process takes. And if the module is in ``sys.modules`` after ``find_spec``,
    ``importlib`` takes the spec of that module, and executes it.
    """

    def __init__(self, domain: callers.Domain) -> None:
        self._domain = domain

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        self._domain.import_module(spec.name)
        return _make(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the domain has imported its own module by now."""


def ensure(name: str) -> None:
    """Put a stand-in for ``name`` into the interpreter's ``sys.modules``, if one is needed there.

    A module of the standard library is imported into the process first.
    """
    present = sys.modules.get(name)
    if type(present) is StandIn or name in _UNTOUCHED:
        return
    if not _is_stdlib(name):
        _put(name)
        return
    # One thread at a time, until the module is complete: another would find it half initialised.
    with _stdlib_lock:
        if name not in sys.modules:
            with contextlib.suppress(ImportError):  # a name that only the namespace has
                _import_real(name)
        _put(name)


def _put(name: str) -> None:
    with _lock:
        if name in _aside or type(sys.modules.get(name)) is StandIn:
            return
        if name in sys.modules:
            _real[name] = sys.modules[name]
        sys.modules[name] = _make(name)


def replaced(name: str) -> ModuleType | None:
    """Return the process's own module called ``name``, also if a stand-in has taken its place.

    ``None`` if the process has not imported it.
    """
    present = sys.modules.get(name)
    return _real.get(name) if type(present) is StandIn else present


def remove_all() -> None:
    """Put the process's own modules back into ``sys.modules``."""
    with _lock:
        for name, module in list(sys.modules.items()):
            if type(module) is StandIn:
                if name in _real:
                    sys.modules[name] = _real.pop(name)  # type: ignore[assignment]
                else:
                    del sys.modules[name]
        _real.clear()
        _aside.clear()


def _make(name: str) -> StandIn:
    module = StandIn(name)
    object.__setattr__(module, _NAME, name)
    return module


def _name_of(module: StandIn) -> str:
    name: str = object.__getattribute__(module, _NAME)
    return name


def _move_attribute(standin: StandIn, attribute: str, module: ModuleType) -> bool:
    """Move an attribute that C code has set on the stand-in to ``module``, for which it was meant.

    ``PyModule_AddObject`` does not call ``__setattr__``. Code of the same package reads the
    attribute soon after (pandas: ``_pandas_datetime_CAPI``). Returns whether there was one.
    """
    if attribute == _NAME or attribute in _OF_THE_IMPORT_SYSTEM:
        return False
    value = object.__getattribute__(standin, "__dict__").pop(attribute, _ABSENT)
    if value is not _ABSENT:
        setattr(module, attribute, value)
    return value is not _ABSENT


def _held(name: str) -> ModuleType | None:
    """Return the module called ``name`` that the asker has imported, if it has."""
    for domain in callers.domains():
        if domain.transparent and _is_stdlib(name) and _native_code_is_imported():
            return replaced(name)
        module = domain.modules.get(name)
        if _only_uses_process_module(domain, name):
            continue
        if module is not None or not domain.transparent:
            return module
    return replaced(name)  # also for a stand-in that somebody still holds after `remove_all`


def _module(name: str, attribute: str) -> ModuleType:
    module = _held(name)
    if module is None:
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
    return module


def _import(name: str) -> ModuleType:
    """Import a module for the asker; raises ``ModuleNotFoundError``."""
    for domain in callers.domains():
        if _only_uses_process_module(domain, name):
            continue
        try:
            return domain.import_module(name)
        except ModuleNotFoundError as exc:
            missing = exc.name is not None and (name + ".").startswith(exc.name + ".")
            if not domain.transparent or not missing:
                raise
    if name in _real:
        real = _real[name]
        if real is None:
            raise ModuleNotFoundError(f"import of {name} halted; None in sys.modules", name=name)
        return real
    return _import_real(name)


def _is_stdlib(name: str) -> bool:
    return name.partition(".")[0] in callers.STDLIB


def _only_uses_process_module(domain: callers.Domain, name: str) -> bool:
    """Tell whether ``domain`` is a unit that only uses the process's module.

    Then the asker is the caller of the unit, which may have a module of its own.
    """
    module = domain.modules.get(name) if domain.transparent else None
    return module is not None and module is _real.get(name)


def _native_code_is_imported() -> bool:
    """Tell whether the asker is C code that is being imported. It may keep for ever what it finds.

    Modules compiled by mypyc import this way, without calling the ``__import__`` of their unit.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    # A module in Python would have a frame of its own before this one.
    return frame is not None and frame.f_code.co_name == "_call_with_frames_removed"


def waiting(before: Callable[[str], object]) -> Callable[[str], object]:
    """Make a ``_lock_unlock_module`` that imports for the asker; ``before`` is the original.

    The import statement calls ``_lock_unlock_module`` when a module that it finds in
    ``sys.modules`` is being initialised, to wait for the end of that (import.c,
    ``import_ensure_initialized``).
    """

    @internal
    def _lock_unlock_module(name: str) -> None:
        if type(sys.modules.get(name)) is StandIn and _import(name) is not _real.get(name):
            return
        before(name)

    return _lock_unlock_module


def _import_real(name: str) -> ModuleType:
    """Import the process's own module, with a stand-in of that name put aside meanwhile.

    The import does not hold the lock, because it may wait for a thread that needs the lock.
    """
    with _lock:
        standin = sys.modules.get(name)
        if type(standin) is StandIn:
            _aside[name] = standin
            del sys.modules[name]
    try:
        module = callers.for_process(importlib.import_module, name)
    finally:
        # If several threads import it, the first one to finish puts the stand-in back.
        with _lock:
            standin = _aside.pop(name, None)
            if standin is not None:
                if name in sys.modules:
                    _real[name] = sys.modules[name]
                sys.modules[name] = standin
    return _real.get(name) or module
