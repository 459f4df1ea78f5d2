"""Stand-ins in the interpreter's own ``sys.modules``.

C code and shared standard-library code (``pickle``, ``dataclasses``, ``typing.get_type_hints``,
Cython's import statement) look up "the module named X" there. For every name that a namespace
holds privately, and for every module that the process itself has imported from outside the
standard library, a stand-in takes the place of the module and passes each access on to the module
of whoever is asking.

A stand-in must never hide a module that the process has not imported yet: asked by the process,
it imports the real one.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from gateway.namespace import callers

_NAME = "_gateway_name"
_OF_THE_IMPORT_SYSTEM = frozenset(
    {"__spec__", "__loader__", "__package__", "__path__", "__name__", "__file__", "__cached__"}
)
"""What the interpreter's import system writes on a module it believes to have created."""

_UNTOUCHED = frozenset(
    {
        "_frozen_importlib",
        "_frozen_importlib_external",
        "importlib._bootstrap",
        "importlib._bootstrap_external",
        # Views share every class with the module they show, so nobody can tell them apart by it.
        "atexit",
        "builtins",
        "os",
        "signal",
        "sys",
        "time",
    }
)

_lock = threading.RLock()
_real: dict[str, ModuleType | None] = {}
"""The process's own modules behind the stand-ins, ``None`` where it forbids the import."""


class StandIn(ModuleType):
    """Stands in ``sys.modules`` for the modules of one name, whoever's they are."""

    def __getattribute__(self, attribute: str) -> Any:
        return getattr(_target(self, attribute), attribute)

    def __setattr__(self, attribute: str, value: object) -> None:
        # Nor does what it binds on the parent of such a module, another stand-in, concern anybody.
        if attribute not in _OF_THE_IMPORT_SYSTEM and type(value) is not StandIn:
            setattr(_target(self, attribute), attribute, value)

    def __delattr__(self, attribute: str) -> None:
        delattr(_target(self, attribute), attribute)

    def __dir__(self) -> Iterable[str]:
        return dir(_target(self, "__dir__"))

    def __repr__(self) -> str:
        return f"<module {_name_of(self)!r} of whoever asks (a gateway stand-in)>"


class Finder(importlib.abc.MetaPathFinder):
    """Answers imports of shared code and of C code that belong to a namespace.

    ``pickle`` (the Python one) and Cython call the interpreter's import system, not the
    ``__import__`` of the code that called them. First on ``sys.meta_path``, because the process
    may have another package of that name.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] in callers.STDLIB:
            return None
        for domain in callers.domains():
            if domain.finds(fullname):
                return importlib.machinery.ModuleSpec(fullname, _Loader(domain))
        return None


class _Loader(importlib.abc.Loader):
    """Imports for a domain.

    Not the finder: that runs under the lock that every import of the process has to take, and
    ``importlib`` asks a module that is there after it for its spec, and executes that.
    """

    def __init__(self, domain: callers.Domain) -> None:
        self._domain = domain

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        self._domain.import_module(spec.name)
        return _make(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: the namespace has imported its own."""


def ensure(name: str) -> None:
    """Let the interpreter's ``sys.modules`` hold a stand-in for ``name``."""
    present = sys.modules.get(name)
    if type(present) is StandIn or name in _UNTOUCHED:
        return
    with _lock:
        present = sys.modules.get(name)
        if type(present) is StandIn:
            return
        if name not in sys.modules and name.partition(".")[0] in callers.STDLIB:
            with contextlib.suppress(ImportError):  # a name that only the namespace has
                _import_real(name)
        if name in sys.modules:
            _real[name] = sys.modules[name]
        sys.modules[name] = _make(name)


def replaced(name: str) -> ModuleType | None:
    """The process's own module called ``name``, also where a stand-in has taken its place."""
    present = sys.modules.get(name)
    return _real.get(name) if type(present) is StandIn else present


def remove_all() -> None:
    """Give the interpreter its own modules back."""
    with _lock:
        for name, module in list(sys.modules.items()):
            if type(module) is StandIn:
                if name in _real:
                    sys.modules[name] = _real.pop(name)  # type: ignore[assignment]
                else:
                    del sys.modules[name]
        _real.clear()


def _make(name: str) -> StandIn:
    module = StandIn(name)
    object.__setattr__(module, _NAME, name)
    return module


def _name_of(module: StandIn) -> str:
    name: str = object.__getattribute__(module, _NAME)
    return name


def _target(standin: StandIn, attribute: str) -> ModuleType:
    """The module that the asker means.

    The import statement reads ``__spec__`` of what it finds in ``sys.modules`` (import.c,
    ``import_ensure_initialized``) and ``__path__`` of a parent that it finds there: that is the
    sign that somebody imports the name, and then the asker gets it imported. Anything else may be
    a walk over ``sys.modules``, which must not import what nobody wanted.
    """
    name = _name_of(standin)
    importing = attribute in ("__spec__", "__path__")
    for domain in callers.domains(depth=2):
        module = domain.modules.get(name)
        if domain.transparent and module is not None and module is _real.get(name):
            continue  # the unit merely uses the process's; its caller may have one of its own
        if module is None and importing:
            module = _import_for(domain, name)
        if module is not None:
            return module
        if not domain.transparent:
            break
    else:
        real = replaced(name)  # also when stand-ins have gone and this one is still held
        if real is None and importing and name not in _real:
            real = _import_real(name)
        if real is not None:
            return real
    if importing:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    raise AttributeError(f"module {name!r} has no attribute {attribute!r}")


def _import_for(domain: callers.Domain, name: str) -> ModuleType | None:
    try:
        return domain.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not (name + ".").startswith(exc.name + "."):
            raise
        return None


def _import_real(name: str) -> ModuleType:
    """Import the process's own module, out of the way of a stand-in of that name."""
    with _lock:
        standin = sys.modules.pop(name, None)
        try:
            module = callers.for_process(importlib.import_module, name)
            if standin is not None:
                _real[name] = module
        finally:
            if standin is not None:
                sys.modules[name] = standin
        return module
