"""The private import system of one namespace.

Theory. ``importlib/_bootstrap.py`` and ``_bootstrap_external.py`` are written to run with an
injected ``sys``. Every importer executes the two afresh with a ``sys`` that owns ``modules``,
``path``, ``meta_path``, ``path_hooks`` and ``path_importer_cache``, and under a ``builtins``
dictionary whose ``__import__`` is its own. A module executed this way inherits those builtins,
its functions inherit them from the module, and the interpreter looks ``__import__`` up in the
builtins of the running frame. So an import inside a function, at request time, in any thread,
resolves in the right place, with no context variable and no swapping of ``sys.modules``.

Before the private import system looks for a module, ``Provider.provide`` may hand in one from
another layer. Such a module is bound, never initialised: ``_init_module_attrs`` would overwrite
its ``__spec__`` with one of ours and so pin the namespace for ever. Nor is a child that has to
be private ever set on a parent that is shared.

Three details of CPython that have to be answered here, because C code does not call us:

* ``from package import submodule`` in an import cycle falls back to the interpreter's own
  ``sys.modules`` (ceval.c, ``import_from``), so ``__import__`` binds a partly initialised
  submodule on its parent itself, and takes it off again if its import fails.
* The frames of the import system do not show in a traceback (import.c,
  ``remove_importlib_frames``). Real projects count frames to tell a missing module from a broken
  one, so ours go by the same rule.
* Extension modules of the old, single-phase kind put themselves into the interpreter's
  ``sys.modules``; what was there before is put back.
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
    """What an importer asks before it looks for a module itself."""

    def provide(self, name: str) -> ModuleType | None:
        """The module of another layer to be used as ``name``, ``None`` to import it privately.

        The parent of ``name`` is imported already. What is to be kept has to be shared with the
        importer; what is not kept is asked for again at the next import.
        """

    def is_installed(self, path: str) -> bool:
        """Whether the source at ``path`` changes only when something is installed.

        Then Python's own rule says whether a ``.pyc`` beside it is good; ``bytecode_is_newer``
        has a stricter one for what is deployed many times a day.
        """


class Modules(dict[str, ModuleType]):
    """``sys.modules`` of a namespace; what it holds has a stand-in in the interpreter's.

    But for what is not private to the namespace: that is in ``shared`` too. ``views`` are the
    names of those that are nevertheless the namespace's own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shared: dict[str, ModuleType] = {}
        self.views: set[str] = set()

    def __setitem__(self, name: str, module: ModuleType) -> None:
        if self.shared.get(name) is not module:  # programs put shared ones back
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
    """The ``sys`` that ``_bootstrap._setup`` sees.

    It takes every instance of ``type(sys)`` in ``modules`` for a module to initialise; there is
    none of this class.
    """

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        self.modules = modules
        self.builtin_module_names = sys.builtin_module_names


class Importer:
    """A private instance of Python's import system.

    ``reading`` is told of each source that is not installed, before it is read.
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
        """Bind a module of another layer."""
        self.modules.share(name, module)

    def shares(self, name: str) -> bool:
        """Whether ``name`` is bound to a module of another layer."""
        module = self.modules.get(name)
        return module is not None and self.modules.shared.get(name) is module

    def was_shared(self, name: str) -> bool:
        """Whether ``name`` has been bound to a module of another layer before."""
        return name in self.modules.shared

    @internal
    def import_module(self, name: str) -> ModuleType:
        """Import a module by its absolute name, as ``importlib.import_module`` does."""
        module: ModuleType = self.bootstrap._gcd_import(name)
        return module

    def find_spec(self, name: str) -> Any:
        """Where ``name`` would be imported from, by the search path alone; ``None`` if nowhere.

        The parent of ``name`` has to be imported already.
        """
        parent = name.rpartition(".")[0]
        path = getattr(self.modules.get(parent), "__path__", None)
        if parent and path is None:  # without a path, the folders of the project are searched
            return None
        return self.bootstrap._find_spec(name, path)

    def finds(self, name: str) -> bool:
        """Whether ``name`` is imported or ``find_spec`` finds it."""
        return name in self.modules or self.find_spec(name) is not None

    def _importing_during_set_up(
        self, name: str, globals: object = None, locals: object = None, *_: object
    ) -> ModuleType:
        return self.modules[name]

    def _assemble(self, sys_view: Any, external: Any) -> None:
        bootstrap = self.bootstrap
        bootstrap._setup(_SetupSys({**self.modules, bootstrap.__name__: bootstrap}), _imp)
        bootstrap.sys = sys_view
        # One for all import systems, or threads that wait for each other across two dead-lock.
        bootstrap._blocking_on = _frozen_importlib._blocking_on  # type: ignore[attr-defined]
        bootstrap._bootstrap_external = external
        external._install(bootstrap)
        sys_view.path_hooks.insert(0, self._zip_hook)
        sys_view.meta_path[:0] = [bootstrap.BuiltinImporter, bootstrap.FrozenImporter]
        bootstrap._find_and_load_unlocked = self._wrap_find_and_load(
            bootstrap._find_and_load_unlocked
        )
        bootstrap._find_and_load = self._wait_or(bootstrap._find_and_load)
        bootstrap._find_spec = self._keep_spec(bootstrap._find_spec)
        bootstrap._exec = self._unless_shared(bootstrap._exec)
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
        archive = path  # or what is below it inside: shop.zip/shop
        while archive and not os.path.exists(archive):
            archive = os.path.dirname(archive)
        if not os.path.isfile(archive):
            raise ImportError("not a zip file", path=path)
        return self.import_module("zipimport").zipimporter(path)

    def _set_on_parent(self, parent: ModuleType, child: str, module: ModuleType) -> None:
        name = getattr(parent, "__name__", "")
        if name in self.modules.views or self.modules.shared.get(name) is not parent:
            setattr(parent, child, module)

    def _wait_or(self, find_and_load: Callable[..., Any]) -> Callable[..., Any]:
        """As import.c does for a module that is there already: importlib alone raises where two
        threads import a cycle crosswise, import.c accepts the partly initialised module."""

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
                # It came into being since we looked, on a thread that waits for one of ours: as
                # above, it is taken as far as it is.
                if (half := self.modules.get(name)) is None:
                    raise
                return half
            except BaseException as exc:
                drop_own_frames(exc)
                raise

        return _find_and_load

    def _keep_spec(self, find_spec: Callable[..., Any]) -> Callable[..., Any]:
        """``importlib.reload`` gives its ``target`` the spec that it finds."""

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

    def _unless_shared(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        """``importlib.reload`` must not run a module again that is everybody's."""

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
                    if parent:  # a private one; below a shared one it is there already
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
                if type(loader) is not cls:  # a project's own, which may change what it reads
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
        """``__import__``: a short way for what is imported already, else importlib's own."""
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
                    # As full_import would, but with fewer frames: imports may nest deeply.
                    bootstrap._find_and_load(absolute, bootstrap._gcd_import)
                module = full_import(name, globals, locals, fromlist or (), level)
                bind_early(name, module, fromlist or (), level)
                return module
            except BaseException as exc:
                # A bare raise adds no entry for this frame, so it does not show either.
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
    """Without asking a ``__getattr__`` of the module, which may import it and so come here."""
    return attribute in getattr(module, "__dict__", ()) or hasattr(type(module), attribute)


def _no_stats(path: str) -> None:
    """Without the time of the source, ``get_code`` neither reads nor writes a ``.pyc``."""
    raise OSError(path)


def _execute(name: str, code: CodeType, builtins: MutableMapping[str, Any]) -> Any:
    module = ModuleType(name)
    module.__dict__["__builtins__"] = builtins
    exec(code, module.__dict__)
    return module
