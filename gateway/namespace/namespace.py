"""The namespace of one generation of a site: its own modules, environment and search path."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from gateway.namespace import (
    callers,
    cleanup,
    encodings,
    libraries,
    patches,
    recording,
    streams,
    tables,
    threadstate,
    views,
)
from gateway.namespace.children import PATIENCE, end_helpers
from gateway.namespace.environment import Environment
from gateway.namespace.importer import Import, Importer, Modules
from gateway.namespace.layers import LAYER, PRIVATE, STDLIB_PATH, Unit, process_module
from gateway.namespace.tracebacks import internal

_LOADED_BEFORE_ANY_PROJECT = frozenset(
    {
        "_abc", "_codecs", "_collections_abc", "_frozen_importlib", "_frozen_importlib_external",
        "_imp", "_io", "_signal", "_sitebuiltins", "_stat", "_thread", "_warnings", "_weakref",
        "abc", "atexit", "builtins", "codecs", "encodings", "genericpath", "io", "marshal", "os",
        "posix", "posixpath", "signal", "site", "stat", "sys", "time", "zipimport",
    }
)  # fmt: skip
"""Names that a project cannot take, because the interpreter has imported them by then."""

_VIEWS_FROM_THE_START = ("os", "atexit", "signal", "time")


class Namespace:
    """A private import system with the code that it loaded. It implements ``callers.Domain``.

    ``path`` are the folders of the project, which come first on its ``sys.path``. ``environ`` is
    the whole environment that its code sees. ``venv`` is the folder of its virtual environment;
    with ``None`` it uses the packages of the gateway's own environment. ``reading`` is called with
    the path of each source file of the project before the file is read.

    Raises ``EnvironmentError_`` if the virtual environment cannot be used.

    A namespace is no security boundary: its code runs in the process, with the rights of the
    process.
    """

    transparent = False

    def __init__(
        self,
        name: str,
        *,
        path: Iterable[str | os.PathLike[str]] = (),
        environ: Mapping[str, str] | None = None,
        venv: str | os.PathLike[str] | None = None,
        reading: Callable[[str], object] | None = None,
    ) -> None:
        self.name = name
        self._closed = False
        self.environment: Environment = LAYER.environment(os.fspath(venv) if venv else None)
        self.recorded = recording.Recorded()
        self.environ = views.Environ(environ or {})
        self.modules = Modules()
        self._project = [os.fspath(entry) for entry in path]
        self._names: dict[str, frozenset[str]] = {}
        self._units: dict[str, Unit] = {}
        self._builtins = views.make_builtins()
        self._sys: Any = views.make_sys(self.modules, STDLIB_PATH, self.environment.prefix)
        recording.limit_sys(self._sys)
        views.print_to(self._sys, self._builtins)
        self._views: dict[str, ModuleType] = {"builtins": self._builtins, "sys": self._sys}
        self.modules.share("builtins", self._builtins)
        self.modules.share("sys", self._sys)
        callers.register(vars(self._builtins), self)
        self._importer = Importer(self._sys, vars(self._builtins), self, reading)
        for view_name in _VIEWS_FROM_THE_START:
            self.import_module(view_name)
        self._importer.share("os.path", os.path)
        self._make_main()
        self._make_warnings()
        self._let_parts_be_reached(self.import_module("importlib"))
        self._add_site_packages()
        self._sys.path[:0] = self._project

    @staticmethod
    def alive() -> list[Namespace]:
        """Return the namespaces of the process that are not closed, the oldest first."""
        found = [domain for domain in callers.registered() if isinstance(domain, Namespace)]
        return [namespace for namespace in found if not namespace._closed]

    def __repr__(self) -> str:
        return f"<Namespace {self.name}>"

    @internal
    def import_module(self, name: str) -> ModuleType:
        """Import a module of the namespace by its absolute name."""
        return self._importer.import_module(name)

    def finds(self, name: str) -> bool:
        """Tell whether the namespace can import ``name``, as far as the search path tells."""
        return self._importer.finds(name)

    def brings(self, function: FunctionType) -> bool:
        """Tell whether ``function`` is code of a unit of the namespace's environment."""
        return LAYER.brings(self.environment, function)

    def run_script(self, script: str, args: Sequence[str] = ()) -> int:
        """Run a file as ``__main__`` with ``args`` in ``sys.argv``; returns its exit status.

        Exceptions of the script are passed on, except ``SystemExit``.
        """
        self._sys.argv[:] = [script, *args]
        with open(script, "rb") as file:
            code = compile(file.read(), script, "exec", dont_inherit=True)
        variables = vars(self.modules["__main__"])
        variables["__file__"] = script
        try:
            exec(code, variables)
        except SystemExit as exc:
            if exc.code is None or isinstance(exc.code, int):
                return exc.code or 0
            print(exc.code, file=sys.stderr)
            return 1
        return 0

    def close(self, patience: float = PATIENCE) -> list[BaseException]:
        """Do what the end of a process would do; returns the exceptions that this raised.

        The exit functions (``atexit``) and finalizers of the code run, its helper processes end,
        its standard streams are flushed, and its entries in registries of shared code are removed.
        Its modules are freed when the
        last thread that runs their code has ended. ``patience`` is the number of seconds to wait
        for each helper process of the code's ``multiprocessing``.
        """
        errors = self.recorded.run_exit_functions() + cleanup.finalize(self)
        threadstate.put_back()
        try:
            end_helpers(self.modules, patience)
        except BaseException as exc:
            errors.append(exc)
        errors += streams.flush(self._sys) + self.release()
        self._closed = True
        return errors

    def release(self) -> list[BaseException]:
        """Remove the entries of its code in registries of shared code; returns what this raised.

        `close` does it. It has to be done once more when code that went on since has ended.
        """
        errors = []
        for release in (tables.release, libraries.release, patches.release, cleanup.clear):
            try:
                release(self)
            except BaseException as exc:  # keys of the code may raise when they are compared
                errors.append(exc)
        return errors

    @internal
    def provide(self, name: str) -> ModuleType | None:
        """Return the view or the shared module that the code is to use as ``name``.

        ``None`` if the namespace is to import ``name`` for itself.
        """
        if self._is_private(name):
            return None
        view = self._views.get(name) or self._make_view(name)
        if view is not None:
            self.modules.views.add(name)
            return self._share(name, view)
        if self._importer.was_shared(name):
            # A project that removes a shared module from its sys.modules and imports it again
            # wants a fresh one. defusedxml does this to get a pure-Python xml.etree.
            return None
        if name.partition(".")[0] in callers.STDLIB:
            return self._from(process_module, name)
        unit = self._units.get(name.rpartition(".")[0])
        if unit is None:
            unit = LAYER.unit_of(self.environment, name)
            if unit is None or not self._would_import_from_environment(name):
                return None
        self._units[name] = unit
        module = self._from(unit.import_module, name)
        # The modules that the unit has imported for itself go into the site's sys.modules as well,
        # where they would be if the site had imported them.
        for other, loaded in unit.loaded().items():
            if other not in self.modules:
                self._units[other] = unit
                self._share(other, loaded)
        return module

    def is_installed(self, path: str) -> bool:
        """Tell whether ``path`` lies in the standard library or among the installed packages."""
        return self.environment.contains(path) or path.startswith(STDLIB_PATH)

    def confine_patches(self) -> list[str]:
        """Make what the code has replaced in shared modules and classes count for this code alone.

        Call it when the code has been loaded. Returns the names of what was replaced, for people.
        """
        threadstate.put_back()  # what follows is no code of the site to trace
        return patches.adopt()

    def seen_environ(self) -> Any:
        """Return the ``os.environ`` of the code, which may have replaced it by another mapping."""
        view = self._views.get("os")
        return self.environ if view is None else view.__dict__["environ"]

    def excepthook(self) -> Callable[[Any], object] | None:
        """Return the ``threading.excepthook`` that the code has set, if it has."""
        view = self._views.get("threading")
        return recording.excepthook_of(view) if view is not None else None

    def _make_view(self, name: str) -> ModuleType | None:
        """Make the namespace's view of a module; ``None`` if the module needs none."""
        make = _VIEWS.get(name)
        if make is None:
            return None
        module = process_module(name)  # the view shows the classes of this one
        view = self._views[name] = make(self, module)
        return view

    def _make_warnings(self) -> None:
        """Give the namespace a ``warnings`` with filters of its own.

        ``_warnings`` (in C) has one list of filters for the process, and the Python module begins
        with that list. But C code reads the filters through ``sys.modules["warnings"]``, and the
        stand-in there leads to the module of the namespace.
        """
        options, self._sys.warnoptions = self._sys.warnoptions, []
        warnings: Any = self.import_module("warnings")
        self._sys.warnoptions = options
        warnings.filters = list(warnings.filters)
        warnings.onceregistry = {}

    def _make_main(self) -> None:
        main = ModuleType("__main__")
        # As in Python, this is the only module whose __builtins__ is the module builtins, not its
        # dictionary.
        vars(main)["__builtins__"] = self._builtins
        self.modules["__main__"] = main

    def _let_parts_be_reached(self, package: ModuleType) -> ModuleType:
        """Let the code read submodules of ``package`` as attributes without importing them.

        In Python this works once anybody has imported the submodule, and often somebody has:
        ``inspect`` imports ``importlib.machinery``.
        """
        name = package.__name__
        others = vars(package).get("__getattr__")

        def __getattr__(part: str) -> Any:
            if f"{name}.{part}" in sys.modules:
                return self.import_module(f"{name}.{part}")
            if others is not None:
                return others(part)
            raise AttributeError(f"module {name!r} has no attribute {part!r}")

        vars(package)["__getattr__"] = __getattr__
        return package

    def _add_site_packages(self) -> None:
        """Put ``site-packages`` on the path and carry out its ``.pth`` files, as Python does.

        The ``sitecustomize`` of a virtual environment runs, too. That of the gateway's own
        environment has run already.
        """
        flags = self._sys.flags
        # Importing the module "site" extends the path of the interpreter, unless no_site (-S) is
        # set.
        as_they_are = {flag: getattr(flags, flag) for flag in dir(flags) if flag[0] != "_"}
        self._sys.flags = SimpleNamespace(**{**as_they_are, "no_site": 1})
        try:
            site: Any = self.import_module("site")
        finally:
            self._sys.flags = flags
        for root in self.environment.roots:
            site.addsitedir(root)
        if self.environment.prefix is not None:
            site.execsitecustomize()

    @internal
    def _from(self, import_: Import, name: str) -> ModuleType | None:
        try:
            return self._share(name, import_(name))
        except ModuleNotFoundError as exc:
            if exc.name != name:
                raise
            return None  # our own search will fail, too, with the message and frames of Python

    def _share(self, name: str, module: ModuleType) -> ModuleType:
        self._importer.share(name, module)
        return module

    def _is_private(self, name: str) -> bool:
        """Tell whether the namespace has a private module under a standard-library name."""
        top, _, below = name.partition(".")
        if top not in callers.STDLIB:
            return False
        if below:
            return name in PRIVATE or not self._importer.shares(name.rpartition(".")[0])
        return top in PRIVATE or self._is_taken_by_project(top)

    def _is_taken_by_project(self, top: str) -> bool:
        """Tell whether the project has a module of its own under a standard-library name.

        A file or folder of that name does not prove it: many projects have a folder ``locale``,
        which is no package.
        """
        if top in _LOADED_BEFORE_ANY_PROJECT:
            return False
        for entry in self._sys.path:
            if entry in STDLIB_PATH:
                return False
            if entry not in self._names:
                self._names[entry] = _names_in(entry)
            if top in self._names[entry]:
                spec = self._importer.find_spec(top)
                return bool(spec and spec.has_location and not spec.origin.startswith(STDLIB_PATH))
        return False

    def _would_import_from_environment(self, name: str) -> bool:
        """Tell whether ``name`` is found in the environment, and nowhere before it on the path."""
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


_Make = Callable[[Namespace, ModuleType], ModuleType]


def _parent(space: Namespace, module: ModuleType) -> ModuleType:
    return space._let_parts_be_reached(views.make_parent(module))


def _recording(make: Callable[[recording.Recorded], ModuleType]) -> _Make:
    return lambda space, _: make(space.recorded)


_VIEWS: dict[str, _Make] = {
    "_sqlite3": tables.make_sqlite3,
    "atexit": _recording(recording.make_atexit),
    "codecs": lambda space, _: encodings.make_codecs(space.recorded.encodings),
    "concurrent": _parent,
    "concurrent.futures": lambda space, _: views.make_futures(space._builtins),
    "copyreg": lambda space, _: tables.make_copyreg(space),
    "faulthandler": lambda space, _: recording.make_faulthandler(),
    "gc": lambda space, _: recording.make_gc(),
    "inspect": lambda space, _: views.make_inspect(space._builtins, space._sys),
    "locale": _recording(recording.make_locale),
    "os": lambda space, _: views.make_os(space._builtins, space.environ, space.recorded),
    "signal": _recording(recording.make_signal),
    "socket": _recording(recording.make_socket),
    "sqlite3": lambda space, module: tables.make_sqlite3(space, _parent(space, module)),
    "sqlite3.dbapi2": tables.make_sqlite3,
    "threading": _recording(recording.make_threading),
    "time": lambda space, _: recording.make_time(),
    "urllib": _parent,
    "urllib.request": lambda space, _: views.make_urllib_request(space._builtins),
}
"""Functions that make the views, by the name of the module. A view takes the place of a module that
a namespace must not use directly."""
