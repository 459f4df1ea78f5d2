"""The private import system of one namespace.

Theory. ``importlib/_bootstrap.py`` and ``_bootstrap_external.py`` are written to run with an
injected ``sys``. Every importer executes the two afresh with a ``sys`` that owns ``modules``,
``path``, ``meta_path``, ``path_hooks`` and ``path_importer_cache``, and under a ``builtins``
dictionary whose ``__import__`` is its own. A module executed this way inherits those builtins,
its functions inherit them from the module, and the interpreter looks ``__import__`` up in the
builtins of the running frame. So an import inside a function, at request time, in any thread,
resolves in the right place, with no context variable and no swapping of ``sys.modules``.

Before the private import system looks for a module, ``Provider.provide`` may hand in one from
another layer (``layers.py``). Such a module is bound, never initialised: ``_init_module_attrs``
would overwrite its ``__spec__`` with one of ours and so keep the namespace in memory for ever. A
private module is never set as an attribute of a shared parent.

Three details of CPython have to be imitated here, because its C code does not call us:

* ``from package import submodule`` in an import cycle falls back to the interpreter's own
  ``sys.modules`` (ceval.c, ``import_from``). So our ``__import__`` itself sets a partly initialised
  submodule as an attribute of its parent, and removes it again if its import fails.
* The frames of the import system do not show in a traceback (import.c,
  ``remove_importlib_frames``). Real projects count frames to tell a missing module from a broken
  one, so our frames are removed by the same rule.
* Extension modules of the old kind, with single-phase initialisation, put themselves into the
  interpreter's ``sys.modules``. We put back what was there before.
"""

from __future__ import annotations

import _frozen_importlib
import _imp
import functools
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from importlib.util import cache_from_source
from types import CodeType, ModuleType
from typing import Any, Protocol

from gateway.namespace import standins
from gateway.namespace.codecache import CODE, bytecode_is_newer
from gateway.namespace.locations import remembering
from gateway.namespace.tracebacks import drop_own_frames, internal, trim

_BOOTSTRAP = _imp.get_frozen_object("_frozen_importlib")
_BOOTSTRAP_EXTERNAL = _imp.get_frozen_object("_frozen_importlib_external")
_PREPARED = ("_imp", "_io", "_thread", "_warnings", "_weakref", "marshal", "posix")

Import = Callable[[str], ModuleType]


class Provider(Protocol):
    """The object that an importer asks before it looks for a module itself."""

    def provide(self, name: str) -> ModuleType | None:
        """Return the module of another layer to use as ``name``; ``None`` to import it privately.

        The parent of ``name`` is imported already. To have the importer keep the module, call its
        ``share``; otherwise the next import asks again.
        """

    def is_installed(self, path: str) -> bool:
        """Tell whether the source at ``path`` changes only when something is installed.

        For such a source, Python's own rule decides whether a ``.pyc`` beside it is valid. For code
        that is deployed many times a day, ``bytecode_is_newer`` has a stricter rule.
        """


class Modules(dict[str, ModuleType]):
    """``sys.modules`` of a namespace or a unit.

    Each private module in it has a stand-in in the interpreter's ``sys.modules``. Modules that are
    not private are also in ``shared``. ``views`` are the names in ``shared`` of which the
    namespace nevertheless has a module of its own, a view.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shared: dict[str, ModuleType] = {}
        self.views: set[str] = set()

    def __setitem__(self, name: str, module: ModuleType) -> None:
        if self.shared.get(name) is not module:  # programs put back shared ones that they took out
            standins.ensure(name)
        super().__setitem__(name, module)

    def setdefault(self, name: str, default: ModuleType) -> ModuleType:
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *args: Any, **kwargs: ModuleType) -> None:
        for name, module in dict(*args, **kwargs).items():
            self[name] = module

    def __ior__(self, other: Any) -> Modules:  # type: ignore[override,misc]
        self.update(other)
        return self

    def share(self, name: str, module: ModuleType) -> None:
        """Hold a module of another layer."""
        self.shared[name] = module
        super().__setitem__(name, module)


class _SetupSys:
    """The ``sys`` that ``_bootstrap._setup`` gets.

    ``_setup`` initialises every module in ``modules`` that is an instance of ``type(sys)``. With
    this class as the type of ``sys``, it finds none.
    """

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        self.modules = modules
        self.builtin_module_names = sys.builtin_module_names


class Importer:
    """A private instance of Python's import system.

    ``reading`` is called with the path of each source that is not installed, before it is read.
    """

    def __init__(
        self,
        sys_view: Any,
        builtins: dict[str, Any],
        provider: Provider,
        reading: Callable[[str], object] | None = None,
    ) -> None:
        self.modules: Modules = sys_view.modules
        self._provider = provider
        self._reading = reading
        self._codes: list[CodeType] = []
        self._early: dict[str, ModuleType] = {}
        builtins["__import__"] = self._importing_during_set_up
        for name in _PREPARED:
            self.share(name, __import__(name))
        self.bootstrap = _execute("_frozen_importlib", _BOOTSTRAP, builtins)
        external = _execute("_frozen_importlib_external", _BOOTSTRAP_EXTERNAL, builtins)
        self._assemble(sys_view, external)
        builtins["__import__"] = self._make_import()

    def share(self, name: str, module: ModuleType) -> None:
        """Use a module of another layer as ``name``, now and for later imports."""
        self.modules.share(name, module)

    def shares(self, name: str) -> bool:
        """Tell whether ``name`` is a module of another layer now."""
        module = self.modules.get(name)
        return module is not None and self.modules.shared.get(name) is module

    def was_shared(self, name: str) -> bool:
        """Tell whether ``name`` has ever been a module of another layer here."""
        return name in self.modules.shared

    @internal
    def import_module(self, name: str) -> ModuleType:
        """Import a module by its absolute name, as ``importlib.import_module`` does."""
        module: ModuleType = self.bootstrap._gcd_import(name)
        return module

    def find_spec(self, name: str) -> Any:
        """Return the spec that the search path alone gives for ``name``; ``None`` if it has none.

        The parent of ``name`` has to be imported already.
        """
        parent = name.rpartition(".")[0]
        path = getattr(self.modules.get(parent), "__path__", None)
        if parent and path is None:  # without a path, the folders of the project are searched
            return None
        return self.bootstrap._find_spec(name, path)

    def finds(self, name: str) -> bool:
        """Tell whether ``name`` is imported, or ``find_spec`` finds it."""
        return name in self.modules or self.find_spec(name) is not None

    def _importing_during_set_up(
        self, name: str, globals: object = None, locals: object = None, *_: object
    ) -> ModuleType:
        return self.modules[name]

    def _assemble(self, sys_view: Any, external: Any) -> None:
        bootstrap = self.bootstrap
        bootstrap._setup(_SetupSys({**self.modules, bootstrap.__name__: bootstrap}), _imp)
        bootstrap.sys = sys_view
        # All import systems share this table, so that a dead-lock is detected also between threads
        # that wait for each other in two import systems.
        bootstrap._blocking_on = _frozen_importlib._blocking_on  # type: ignore[attr-defined]
        bootstrap._bootstrap_external = external
        external._install(bootstrap)
        sys_view.path_hooks.insert(0, self._zip_hook)
        sys_view.meta_path[:0] = [bootstrap.BuiltinImporter, bootstrap.FrozenImporter]
        bootstrap._find_and_load_unlocked = self._wrap_find_and_load(
            bootstrap._find_and_load_unlocked
        )
        bootstrap._find_and_load = self._wait_for_initialisation(bootstrap._find_and_load)
        bootstrap._find_spec = self._keep_spec_of_shared(bootstrap._find_spec)
        bootstrap._exec = self._execute_unless_shared(bootstrap._exec)
        bootstrap.setattr = self._set_on_parent
        external.FileFinder.find_spec = remembering(
            external, bootstrap, self._provider.is_installed
        )
        loader = external.SourceFileLoader
        loader.get_code = self._wrap_get_code(loader, loader.get_code)
        loader = external.ExtensionFileLoader
        loader.create_module = self._wrap_create_extension(loader.create_module)
        self.modules.share("_frozen_importlib", bootstrap)
        self.modules.share("_frozen_importlib_external", external)

    def _zip_hook(self, path: str) -> Any:
        archive = path  # or a folder inside the archive: shop.zip/shop
        while archive and not os.path.exists(archive):
            archive = os.path.dirname(archive)
        if not os.path.isfile(archive):
            raise ImportError("not a zip file", path=path)
        return self.import_module("zipimport").zipimporter(path)

    def _set_on_parent(self, parent: ModuleType, child: str, module: ModuleType) -> None:
        name = getattr(parent, "__name__", "")
        if name in self.modules.views or self.modules.shared.get(name) is not parent:
            setattr(parent, child, module)

    def _wait_for_initialisation(self, find_and_load: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``_find_and_load`` so that it treats partly initialised modules as import.c does.

        When two threads import the modules of a cycle from opposite ends, importlib alone raises;
        import.c accepts the partly initialised module.
        """

        @internal
        @functools.wraps(find_and_load)
        def _find_and_load(name: str, import_: Import) -> ModuleType:
            module = self.modules.get(name)
            if getattr(getattr(module, "__spec__", None), "_initializing", False):
                self.bootstrap._lock_unlock_module(name)
                if self.modules.get(name) is module:
                    return module  # type: ignore[return-value]
            try:
                found: ModuleType = find_and_load(name, import_)
                return found
            except self.bootstrap._DeadlockError:
                # Since we looked, a thread that waits for ours has begun to import the module. As
                # above, we accept it partly initialised.
                if (half := self.modules.get(name)) is None:
                    raise
                return half
            except BaseException as exc:
                drop_own_frames(exc)
                raise

        return _find_and_load

    def _keep_spec_of_shared(self, find_spec: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``_find_spec`` so that ``importlib.reload`` gives a shared module no other spec."""

        @internal
        @functools.wraps(find_spec)
        def _find_spec(name: str, path: Any, target: ModuleType | None = None) -> Any:
            if target is not None and self.modules.shared.get(name) is target:
                return target.__spec__
            try:
                return find_spec(name, path, target)
            except BaseException as exc:
                drop_own_frames(exc)
                raise

        return _find_spec

    def _execute_unless_shared(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``_exec`` so that ``importlib.reload`` does not execute a shared module again."""

        @internal
        @functools.wraps(execute)
        def _exec(spec: Any, module: ModuleType) -> ModuleType:
            if self.modules.shared.get(spec.name) is module:
                return module
            try:
                executed: ModuleType = execute(spec, module)
                return executed
            except BaseException as exc:
                drop_own_frames(exc)
                raise

        return _exec

    def _wrap_find_and_load(self, find_and_load: Callable[..., Any]) -> Callable[..., Any]:
        @internal
        @functools.wraps(find_and_load)
        def _find_and_load_unlocked(name: str, import_: Import) -> ModuleType:
            try:
                parent = name.rpartition(".")[0]
                if parent and parent not in self.modules:
                    import_(parent)
                    if name in self.modules:  # importing the parent may import the child
                        return self.modules[name]
                module = self._provider.provide(name)
                if module is not None:
                    if parent:  # matters if it is private; a shared one has its child already
                        self._set_on_parent(self.modules[parent], name[len(parent) + 1 :], module)
                    return module
                found: ModuleType = find_and_load(name, import_)
                return found
            except BaseException as exc:
                self._take_off_parent(name)
                drop_own_frames(exc)
                raise
            finally:
                self._early.pop(name, None)

        return _find_and_load_unlocked

    def _take_off_parent(self, name: str) -> None:
        early = self._early.pop(name, None)
        if early is not None:
            parent, _, child = name.rpartition(".")
            attributes = vars(self.modules[parent]) if parent in self.modules else {}
            if attributes.get(child) is early:
                del attributes[child]

    def _wrap_get_code(self, cls: type, get_code: Callable[..., Any]) -> Callable[..., Any]:
        @internal
        @functools.wraps(get_code)
        def _get_code(loader: Any, fullname: str) -> CodeType:
            path = loader.get_filename(fullname)
            if self._reading is not None and not self._provider.is_installed(path):
                self._reading(path)

            def compile_() -> CodeType:
                installed = self._provider.is_installed(path)
                if not installed and not bytecode_is_newer(path, cache_from_source(path)):
                    loader.path_stats = _no_stats
                try:
                    return get_code(loader, fullname)  # type: ignore[no-any-return]
                finally:
                    vars(loader).pop("path_stats", None)

            try:
                if type(loader) is not cls:  # the project's own loader, which may change the source
                    return get_code(loader, fullname)  # type: ignore[no-any-return]
                code = CODE.get(path, compile_)
            except BaseException as exc:
                drop_own_frames(exc)
                raise
            self._codes.append(code)
            return code

        return _get_code

    def _wrap_create_extension(self, create: Callable[..., Any]) -> Callable[..., Any]:
        @internal
        @functools.wraps(create)
        def create_module(loader: Any, spec: Any) -> ModuleType:
            before = sys.modules.get(spec.name)
            try:
                module: ModuleType = create(loader, spec)
            except BaseException as exc:
                drop_own_frames(exc)
                raise
            finally:
                if sys.modules.get(spec.name) is not before:
                    if before is None:
                        del sys.modules[spec.name]
                    else:
                        sys.modules[spec.name] = before
            standins.ensure(spec.name)
            return module

        return create_module

    def _make_import(self) -> Callable[..., ModuleType]:
        """Make ``__import__``: fast for modules imported already, and else importlib's own."""
        modules = self.modules
        bootstrap = self.bootstrap
        full_import: Callable[..., ModuleType] = bootstrap.__import__
        bind_early = self._bind_early

        @internal
        def __import__(
            name: str,
            globals: Mapping[str, Any] | None = None,
            locals: Mapping[str, Any] | None = None,
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> ModuleType:
            if level < 0:
                raise ValueError("level must be >= 0")
            absolute = None
            try:
                if level == 0:
                    absolute = name
                elif level == 1 and (package := globals["__package__"]):  # type: ignore[index]
                    absolute = f"{package}.{name}" if name else package
                module = modules[absolute]  # type: ignore[index]
                if not module.__spec__._initializing:  # type: ignore[union-attr]
                    if fromlist:
                        attributes = module.__dict__
                        for attribute in fromlist:
                            attributes[attribute]
                        return module
                    if level == 0:
                        return modules[name.partition(".")[0]] if "." in name else module
            except (KeyError, AttributeError, TypeError):
                pass
            try:
                if absolute and isinstance(absolute, str):
                    # full_import would do this with more frames, and imports may nest deeply.
                    bootstrap._find_and_load(absolute, bootstrap._gcd_import)
                module = full_import(name, globals, locals, fromlist or (), level)
                bind_early(name, module, fromlist or (), level)
                return module
            except BaseException as exc:
                # A bare raise adds no entry for this frame, so this frame does not show either.
                exc.__traceback__ = trim(exc)
                raise

        __import__.__module__ = "builtins"
        __import__.__qualname__ = "__import__"
        return __import__

    def _bind_early(
        self, name: str, module: ModuleType, fromlist: Sequence[str], level: int
    ) -> None:
        if fromlist:
            pairs = [(module, attribute) for attribute in fromlist if attribute != "*"]
        elif "." in name and level == 0:  # "import a.b as c" reads a.b from a
            parents = name.split(".")
            pairs = [
                (self.modules[".".join(parents[:n])], parents[n]) for n in range(1, len(parents))
            ]
        else:
            return
        for parent, child in pairs:
            full = f"{getattr(parent, '__name__', None)}.{child}"
            submodule = self.modules.get(full)
            if submodule is not None and not _has_of_itself(parent, child):
                self._early[full] = submodule
                self._set_on_parent(parent, child, submodule)


def _has_of_itself(module: ModuleType, attribute: str) -> bool:
    """Tell whether a module has an attribute, without calling the ``__getattr__`` of the module.

    That may import the attribute, and so call us again.
    """
    return attribute in getattr(module, "__dict__", ()) or hasattr(type(module), attribute)


def _no_stats(path: str) -> None:
    """Raise ``OSError``: without the time of the source, ``get_code`` ignores ``.pyc`` files.

    It neither reads nor writes one then.
    """
    raise OSError(path)


def _execute(name: str, code: CodeType, builtins: MutableMapping[str, Any]) -> Any:
    module = ModuleType(name)
    module.__dict__["__builtins__"] = builtins
    exec(code, module.__dict__)
    return module
