"""The two layers below a site: the process and the environment.

*Process*: the standard library, exactly ``sys.stdlib_module_names``, loaded once and shared (a
second ``sqlite3`` would have another ``sqlite3.Error``). A few of its modules keep state that
must be a site's own; each namespace executes those itself.

*Environment*: units, which consist of distributions with extension modules (``environment.py``
says how). A unit is a domain (``callers.Domain``: an owner of modules) with an import system of its
own, so its code finds its own version of everything it needs. It lives as long as the process. A
unit of the gateway's own environment consists of modules of the process.
"""

from __future__ import annotations

import _frozen_importlib
import os
import sys
import sysconfig
import threading
import weakref
from collections.abc import Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any, Protocol

from gateway.namespace import (
    callers,
    libraries,
    locations,
    patches,
    standins,
    views,
)
from gateway.namespace.environment import Environment, UnitSpec
from gateway.namespace.importer import Importer, Modules
from gateway.namespace.tracebacks import internal, is_internal

PRIVATE = frozenset(
    {
        "_csv",
        "argparse",
        "calendar",
        "concurrent.futures.process",
        "csv",
        "distutils",
        "doctest",
        "fileinput",
        "gettext",
        "importlib",
        "logging",
        "mimetypes",
        "multiprocessing",
        "optparse",
        "pkgutil",
        "random",
        "runpy",
        "site",
        "tempfile",
        "unittest",
        "warnings",
        "webbrowser",
        "zipimport",
    }
)
"""Standard-library modules that every namespace executes itself, because they keep state that
belongs to a site, or read ``sys.argv``."""

_PRIVATE_TO_UNITS = frozenset({"importlib", "pkgutil", "zipimport"})
_ABSENT: Any = object()
_STDLIB = sysconfig.get_path("stdlib")

STDLIB_PATH = tuple(
    dict.fromkeys((_STDLIB, sysconfig.get_path("platstdlib"), os.path.join(_STDLIB, "lib-dynload")))
)
"""The entries of ``sys.path`` that hold the standard library."""


class Unit(Protocol):
    """A unit of the environment layer."""

    spec: UnitSpec

    def import_module(self, name: str) -> ModuleType:
        """Import one of the unit's modules."""

    def loaded(self) -> dict[str, ModuleType]:
        """Return the unit's modules that are imported and fully initialised, by name."""

    def made(self, function: FunctionType) -> bool:
        """Tell whether ``function``, found in one of the unit's modules, is code of the unit."""


@internal
def process_module(name: str) -> ModuleType:
    """Return a module of the process; imports it into the process if it is not there yet.

    Raises ``ModuleNotFoundError`` as the import statement does.
    """
    module = standins.replaced(name)
    if module is None or getattr(getattr(module, "__spec__", None), "_initializing", False):
        callers.for_process(_frozen_importlib._gcd_import, name)  # type: ignore[attr-defined]
        module = standins.replaced(name)
        if module is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    if name.partition(".")[0] in callers.STDLIB:
        patches.watch(module, at_once=name in libraries.CONFINED_AT_ONCE)
    return module


class ProcessUnit:
    """A unit of the gateway's own environment. Its modules are those of the process."""

    def __init__(self, spec: UnitSpec) -> None:
        self.spec = spec
        callers.share(prefix.partition(".")[0] for prefix in spec.prefixes)

    @internal
    def import_module(self, name: str) -> ModuleType:
        """Import a module of the unit into the process."""
        module = process_module(name)
        _follow_rules(name, self)
        return module

    def loaded(self) -> dict[str, ModuleType]:
        """Return the unit's modules that the process has imported completely, by name."""
        return _complete({name: standins.replaced(name) for name in list(sys.modules)}, self.spec)

    def made(self, function: FunctionType) -> bool:
        """Tell whether ``function`` is code of the process, which includes this unit."""
        return callers.writer(function) is None


class UnitModules(Modules):
    """``sys.modules`` of a unit. In it the unit's code also finds modules of the calling site.

    The import system of the unit does not find those: it would keep them.
    """

    def __missing__(self, name: str) -> ModuleType:
        module = None if is_internal(sys._getframe(1).f_code) else _held_by_asking_site(name)
        if module is None:
            raise KeyError(name)
        return module

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        if is_internal(sys._getframe(1).f_code) or not isinstance(name, str):
            return False
        return _held_by_asking_site(name) is not None

    def get(self, name: str, default: Any = None) -> Any:
        module = super().get(name, _ABSENT)
        if module is _ABSENT and not is_internal(sys._getframe(1).f_code):
            module = _held_by_asking_site(name)
            return default if module is None else module
        return default if module is _ABSENT else module


def _held_by_asking_site(name: str) -> ModuleType | None:
    site = callers.namespace()
    return site.modules.get(name) if site is not None else None


class LoadedUnit:
    """A unit with an import system of its own. It implements `Unit` and ``callers.Domain``."""

    transparent = True

    def __init__(self, spec: UnitSpec, layer: EnvironmentLayer) -> None:
        self.spec = spec
        self._layer = layer
        self._environment = spec.environment
        self.modules = UnitModules()
        builtins = views.make_builtins()
        path = [*STDLIB_PATH, *self._environment.roots]
        sys_view = views.make_sys(self.modules, path, self._environment.prefix)
        self.modules.share("builtins", builtins)
        self.modules.share("sys", sys_view)
        callers.register(vars(builtins), self)
        self._importer = Importer(sys_view, vars(builtins), self)

    @internal
    def import_module(self, name: str) -> ModuleType:
        """Import a module of the unit, or another one that the code of the unit needs."""
        try:
            module = self._importer.import_module(name)
        except ImportError as exc:
            self._layer.explain(self.spec, exc)
            raise
        _follow_rules(name, self)
        return module

    def finds(self, name: str) -> bool:
        """Tell whether the unit has a module of that name, as far as the search path tells."""
        return self._importer.finds(name)

    def brings(self, function: FunctionType) -> bool:
        """Tell whether ``function`` is code of a unit of the environment that this one is in."""
        return self._layer.brings(self._environment, function)

    def made(self, function: FunctionType) -> bool:
        """Tell whether ``function`` is code of this unit."""
        return callers.writer(function) is self

    @internal
    def loaded(self) -> dict[str, ModuleType]:
        """Return the modules of the unit that are imported and fully initialised, by name."""
        return _complete(dict(self.modules), self.spec)

    def provide(self, name: str) -> ModuleType | None:
        """Return the module of the process, another unit or the calling site that ``name`` means.

        ``None`` if the unit is to import ``name`` itself.
        """
        top = name.partition(".")[0]
        if top in callers.STDLIB:
            if top in _PRIVATE_TO_UNITS or self._importer.was_shared(name):
                return None
            return self._share(name, process_module(name))
        unit = self._layer.unit_of(self._environment, name)
        if unit is not None and unit is not self:
            return self._share(name, unit.import_module(name))
        if unit is None and self._belongs_to_a_site(top):
            return self._of_asking_site(name)
        return None

    def is_installed(self, path: str) -> bool:
        """Return true: all code of a unit is installed."""
        return True

    def _share(self, name: str, module: ModuleType) -> ModuleType:
        self._importer.share(name, module)
        return module

    def _belongs_to_a_site(self, top: str) -> bool:
        if top in self._environment.private_modules:
            return True
        return self._importer.find_spec(top) is None

    @internal
    def _of_asking_site(self, name: str) -> ModuleType | None:
        """Return a module of the calling site. It is not kept: that would pin the generation."""
        for domain in callers.domains():
            if not domain.transparent:
                return domain.import_module(name)
        return None


def _follow_rules(name: str, unit: Unit) -> None:
    """Follow the rules for the library of a module that a unit has imported, if there are any."""
    library = libraries.TABLE.get(name.partition(".")[0])
    if library is not None:
        libraries.imported(library, unit.loaded(), unit.spec.label)


def _complete(modules: Mapping[str, ModuleType | None], spec: UnitSpec) -> dict[str, ModuleType]:
    below = tuple(prefix + "." for prefix in spec.prefixes)
    return {
        name: module
        for name, module in modules.items()
        if module is not None
        and (name in spec.prefixes or name.startswith(below))
        and not getattr(getattr(module, "__spec__", None), "_initializing", False)
    }


class EnvironmentLayer:
    """The units that are loaded in this process, by content. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._units: dict[str, Unit] = {}
        self._environments: weakref.WeakValueDictionary[
            tuple[str | None, tuple[int, ...]], Environment
        ] = weakref.WeakValueDictionary()
        self._own: Environment | None = None

    def environment(self, prefix: str | None) -> Environment:
        """Return the environment at ``prefix`` as it is now; ``None`` is the gateway's own.

        All who have the same environment at the same time share one object. Raises
        ``EnvironmentError_``.
        """
        fresh = Environment.of_process() if prefix is None else Environment.of_venv(prefix)
        key = (prefix, tuple(_changed(root) for root in fresh.roots))
        with self._lock:
            known = self._environments.setdefault(key, fresh)
        if known is fresh and prefix is not None:
            weakref.finalize(fresh, locations.forget, fresh.roots).atexit = False
        return known

    def unit_of(self, environment: Environment, name: str) -> Unit | None:
        """Return the unit that contains the module ``name`` in ``environment``, if one does."""
        units = environment.units
        prefix = name
        while prefix not in units:
            prefix = prefix.rpartition(".")[0]
            if not prefix:
                return None
        return self._unit(units[prefix])

    def brings(self, environment: Environment, function: FunctionType) -> bool:
        """Tell whether ``function`` is code of a unit of ``environment``."""
        unit = self.unit_of(environment, str(function.__globals__.get("__name__")))
        return unit is not None and unit.made(function)

    def explain(self, spec: UnitSpec, error: ImportError) -> None:
        """Add a note to ``error`` if another loaded version of a distribution may be the cause."""
        names = {item.name: item.version for item in spec.distributions}
        for other in self._loaded_beside(spec):
            for item in other.distributions:
                version = names.get(item.name)
                if version is not None:
                    error.add_note(
                        f"{item.name} {item.version} is loaded in this process already, for "
                        f"another environment. If {item.name} {version} cannot be loaded beside "
                        f"it: install the same version in both, or restart the gateway if this "
                        f"is an upgrade."
                    )

    def _loaded_beside(self, spec: UnitSpec) -> Iterable[UnitSpec]:
        with self._lock:
            return [unit.spec for key, unit in self._units.items() if key != spec.key]

    def _unit(self, spec: UnitSpec) -> Unit:
        unit = self._units.get(spec.key)
        if unit is None:
            own_keys = {item.key for item in self._own_environment().units.values()}
            with self._lock:
                unit = self._units.get(spec.key)
                if unit is None and spec.key in own_keys:
                    unit = ProcessUnit(spec)
                elif unit is None:
                    self._check_files(spec)
                    unit = LoadedUnit(spec, self)
                self._units[spec.key] = unit
        return unit

    def _check_files(self, spec: UnitSpec) -> None:
        """Raise ``ImportError`` if a file of ``spec`` is loaded for another unit.

        The C library loads a file only once. Two units have a file in common when an upgrade of
        what a package requires leaves the files of the package as they are, or when uv links the
        same files into several environments. Modules made by Cython or PyO3 would then belong to
        the unit that came first, or fail with messages that help nobody.
        """
        own = self._own_environment().units.values()
        imported = {item for item in own if any(map(standins.replaced, item.prefixes))}
        for other in imported.union(unit.spec for unit in self._units.values()):
            # A unit reads its inodes when it is loaded, and remembers them: an upgrade may replace
            # the files later.
            if spec.inodes & other.inodes:
                raise ImportError(_same_files(spec, other))

    def _own_environment(self) -> Environment:
        if self._own is None:
            self._own = self.environment(None)
        return self._own


def _same_files(spec: UnitSpec, other: UnitSpec) -> str:
    versions = [
        f"{name} {other.versions[name]} (here: {version})"
        for name, version in spec.versions.items()
        if other.versions.get(name, version) != version
    ]
    return (
        f"{spec.label} is loaded in this process already, for an environment that has "
        f"{', '.join(versions) or 'other content'}. It is the same file in both, which can be "
        f"loaded only once: restart the gateway if this is an upgrade, else install the same "
        f"versions in both environments, or files of its own in each (uv: --link-mode copy)"
    )


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


LAYER = EnvironmentLayer()
