"""The namespace of one generation of a site: its own modules, environment and search path."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

from gateway.namespace import callers, views
from gateway.namespace.environment import Environment
from gateway.namespace.importer import Importer, Modules
from gateway.namespace.layers import LAYER, PRIVATE, STDLIB_PATH, Unit, process_module

_LOADED_BEFORE_ANY_PROJECT = frozenset(
    {
        "_abc", "_codecs", "_collections_abc", "_frozen_importlib", "_frozen_importlib_external",
        "_imp", "_io", "_signal", "_sitebuiltins", "_stat", "_thread", "_warnings", "_weakref",
        "abc", "atexit", "builtins", "codecs", "encodings", "genericpath", "io", "marshal", "os",
        "posix", "posixpath", "signal", "site", "stat", "sys", "time", "zipimport",
    }
)  # fmt: skip
"""Names that a project cannot take, because the interpreter has imported them by then."""

_alive: weakref.WeakSet[Namespace] = weakref.WeakSet()


class Namespace:
    """A private import system with the code that it loaded; a ``callers.Domain``.

    ``path`` are the folders of the project, first on its ``sys.path``; ``environ`` is all that it
    sees of an environment; ``venv`` the folder of its virtual environment, ``None`` for what the
    gateway's own has installed. Raises ``EnvironmentError_`` if that cannot be used.

    A namespace is no security boundary: its code runs in the process, with its rights.
    """

    transparent = False

    def __init__(
        self,
        name: str,
        *,
        path: Iterable[str | os.PathLike[str]] = (),
        environ: Mapping[str, str] | None = None,
        venv: str | os.PathLike[str] | None = None,
    ) -> None:
        self.name = name
        self.environment: Environment = LAYER.environment(os.fspath(venv) if venv else None)
        self.recorded = views.Recorded()
        self.environ = views.Environ(environ or {})
        self.modules = Modules()
        self._project = [os.fspath(entry) for entry in path]
        self._names: dict[str, frozenset[str]] = {}
        self._units: dict[str, Unit] = {}
        self._builtins = views.make_builtins()
        self._sys: Any = views.make_sys(
            self.modules, [*self._project, *STDLIB_PATH], self.environment.prefix
        )
        self._views = self._make_views()
        for view_name, view in self._views.items():
            self.modules.share(view_name, view)
        callers.register(vars(self._builtins), self)
        self._importer = Importer(self._sys, vars(self._builtins), self)
        for view_name, view in self._views.items():
            self._importer.share(view_name, view)
        self._make_main()
        self._add_site_packages()
        _alive.add(self)

    @staticmethod
    def alive() -> list[Namespace]:
        """Every namespace of the process that has not been collected."""
        return list(_alive)

    def __repr__(self) -> str:
        return f"<Namespace {self.name}>"

    def import_module(self, name: str) -> ModuleType:
        """Import a module of the namespace by its absolute name."""
        return self._importer.import_module(name)

    def run_script(self, script: str, args: Sequence[str] = ()) -> int:
        """Run a file as ``__main__`` with ``args`` in ``sys.argv``; returns its exit status.

        What it raises is raised here, but for ``SystemExit``.
        """
        self._sys.argv[:] = [script, *args]
        with open(script, "rb") as file:
            code = compile(file.read(), script, "exec", dont_inherit=True)
        variables = vars(self.modules["__main__"])
        variables["__file__"] = script
        try:
            exec(code, variables)
        except SystemExit as exc:
            if isinstance(exc.code, str):
                print(exc.code, file=sys.stderr)
                return 1
            return int(exc.code or 0)
        return 0

    def close(self) -> list[BaseException]:
        """Run what the code registered with ``atexit``; returns what was raised.

        Modules go when the last thread that runs their code is gone.
        """
        errors = self.recorded.run_exit_functions()
        _alive.discard(self)
        return errors

    def provide(self, name: str) -> ModuleType | None:
        """See ``importer.Provider``."""
        if name in self._views:
            return self._views[name]
        if self._importer.was_shared(name):
            # A project that takes a shared module out of its sys.modules and imports it again
            # wants a fresh one (defusedxml does, for a pure-Python xml.etree).
            return None
        top = name.partition(".")[0]
        if top in callers.STDLIB:
            if top in PRIVATE or self._is_taken_by_project(top):
                return None
            return self._share(name, process_module(name))
        unit = self._units.get(name.rpartition(".")[0])
        if unit is None:
            unit = LAYER.unit_of(self.environment, name)
            if unit is None or not self._would_import_from_environment(name):
                return None
        module = self._share(name, unit.import_module(name))
        self._units[name] = unit
        return module

    def is_installed(self, path: str) -> bool:
        """See ``importer.Provider``."""
        return self.environment.contains(path) or path.startswith(STDLIB_PATH)

    def _make_views(self) -> dict[str, ModuleType]:
        os_view = views.make_os(self._builtins, self.environ, self.recorded)
        return {
            "builtins": self._builtins,
            "sys": self._sys,
            "os": os_view,
            "os.path": os.path,
            "atexit": views.make_atexit(self.recorded),
            "signal": views.make_signal(self.recorded),
            "time": views.make_time(),
        }

    def _make_main(self) -> None:
        main = ModuleType("__main__")
        # The one module whose __builtins__ is the module, not its dictionary, as in Python.
        vars(main)["__builtins__"] = self._builtins
        self.modules["__main__"] = main

    def _add_site_packages(self) -> None:
        """Put ``site-packages`` on the path and carry out its ``.pth`` files, as Python does."""
        flags = self._sys.flags
        # The module "site" extends the path of the interpreter when it is imported, except
        # under -S.
        as_they_are = {flag: getattr(flags, flag) for flag in dir(flags) if flag[0] != "_"}
        self._sys.flags = SimpleNamespace(**{**as_they_are, "no_site": 1})
        try:
            site: Any = self.import_module("site")
        finally:
            self._sys.flags = flags
        for root in self.environment.roots:
            site.addsitedir(root)

    def _share(self, name: str, module: ModuleType) -> ModuleType:
        self._importer.share(name, module)
        return module

    def _is_taken_by_project(self, top: str) -> bool:
        """Whether the project has a module of its own under a standard-library name."""
        if top in _LOADED_BEFORE_ANY_PROJECT:
            return False
        for entry in self._sys.path:
            if entry in STDLIB_PATH:
                return False
            if entry not in self._names:
                self._names[entry] = _names_in(entry)
            if top in self._names[entry]:
                return True
        return False

    def _would_import_from_environment(self, name: str) -> bool:
        """Whether nothing on the path stands before the module that the environment brings."""
        spec = self._importer.find_spec(name)
        if spec is None:
            return False
        places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or [])
        return any(self.environment.contains(place) for place in places)


def _names_in(folder: str) -> frozenset[str]:
    try:
        return frozenset(entry.partition(".")[0] for entry in os.listdir(folder or "."))
    except OSError:
        return frozenset()
