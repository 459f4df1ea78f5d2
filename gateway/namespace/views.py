"""Modules of the process as one namespace sees them.

A view is a module that shares functions and classes with the module that it shows, and has its own
copy of the state that must belong to the namespace. Here are the views of ``sys`` (with its own
import state and ``argv``), of ``os`` (with its own environment) and a few more; ``recording.py``,
``tables.py`` and ``encodings.py`` have the others.

Every view is a plain ``ModuleType``: ``importlib`` creates each module with ``type(sys)``, so a
subclass would become the type of all modules of the namespace.
"""

from __future__ import annotations

import inspect
import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any

from gateway.namespace import streams
from gateway.namespace.importer import Modules

_DYNAMIC = frozenset(
    {
        "excepthook", "last_exc", "last_traceback", "last_type", "last_value", "ps1", "ps2",
        "unraisablehook",
    }
)  # fmt: skip
"""Attributes of ``sys`` that the process may replace at any time."""


# os.environ is a MutableMapping of str to the type checker; its real class is private.
_EnvironBase: Any = type(os.environ)


class Environ(_EnvironBase):  # type: ignore[misc]
    """``os.environ`` of a namespace: the environment of its code and its child processes.

    ``inherited`` is the environment that a child process gets. As in C, ``os.putenv`` changes
    ``inherited``, and ``os.environ`` does not show the change.
    """

    inherited: dict[bytes, bytes]
    _data: dict[bytes, bytes]

    def __init__(self, values: Mapping[str, str]) -> None:
        real: Any = os.environ
        data = {real.encodekey(k): real.encodevalue(v) for k, v in values.items()}
        super().__init__(data, real.encodekey, real.decodekey, real.encodevalue, real.decodevalue)
        self.inherited = dict(data)

    def __setitem__(self, key: str, value: str) -> None:
        raw_key, raw_value = self.encodekey(key), self.encodevalue(value)
        self.put(raw_key, raw_value)
        self._data[raw_key] = raw_value

    def __delitem__(self, key: str) -> None:
        raw_key = self.encodekey(key)
        self.unset(raw_key)
        try:
            del self._data[raw_key]
        except KeyError:
            raise KeyError(key) from None

    def as_bytes(self) -> Environ:
        """Return the ``os.environb`` that shows the same environment."""
        twin = Environ({})
        _EnvironBase.__init__(twin, self._data, _bytes, _bytes, _bytes, _bytes)
        twin.inherited = self.inherited
        return twin

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key`` for child processes.

        Raises ``ValueError`` for names and values that the C library's ``setenv`` refuses.
        """
        if not key or b"=" in key:
            raise ValueError("illegal environment variable name")
        if b"\0" in key or b"\0" in value:
            raise ValueError("embedded null byte")
        self.inherited[key] = value

    def unset(self, key: bytes) -> None:
        """Remove ``key`` for child processes."""
        self.inherited.pop(key, None)


def make_builtins() -> ModuleType:
    """Make a ``builtins`` module. Its ``vars`` are the builtins dictionary of the namespace.

    The dictionary must be that of the module, or patching ``builtins.input`` would have no effect.
    """
    view = ModuleType("builtins")
    vars(view).update(vars(sys.modules["builtins"]))
    return view


def make_sys(modules: Modules, path: Iterable[str], prefix: str | None) -> ModuleType:
    """Make a ``sys`` with its own import state, ``argv`` and paths of the virtual environment.

    Its standard streams are its own, too. They are made when they are first asked for.
    """
    view = ModuleType("sys")
    own = vars(view)
    left_out = _DYNAMIC | streams.NAMES
    own.update((k, v) for k, v in vars(sys).items() if k not in left_out)
    own.update(
        modules=modules,
        path=list(path),
        meta_path=[],
        path_hooks=[],
        path_importer_cache={},
        argv=[""],
        orig_argv=[sys.executable],
        warnoptions=list(sys.warnoptions),
    )
    if prefix is not None:
        own.update(
            prefix=prefix,
            exec_prefix=prefix,
            executable=os.path.join(prefix, "bin", "python"),
        )

    def __getattr__(name: str) -> Any:
        if name in streams.NAMES:
            return streams.give(own, name)
        if name in _DYNAMIC:
            return getattr(sys, name)
        raise AttributeError(f"module 'sys' has no attribute {name!r}")

    own["__getattr__"] = __getattr__
    return view


def print_to(sys_view: Any, builtins: ModuleType) -> None:
    """Make ``print`` and ``sys.displayhook`` write to the ``sys.stdout`` of the namespace."""
    write = print

    def print_(
        *values: object, sep: str | None = " ", end: str | None = "\n", file: Any = None,
        flush: bool = False,
    ) -> None:  # fmt: skip
        if file is None and (file := sys_view.stdout) is None:
            return  # as in Python; without a file, it would be the stream of the process
        write(*values, sep=sep, end=end, file=file, flush=flush)

    def displayhook(value: object, /) -> None:
        if value is not None:
            vars(builtins)["_"] = None
            print_(repr(value))
            vars(builtins)["_"] = value

    print_.__name__ = "print"
    vars(builtins)["print"] = disguise(print_, "builtins")
    sys_view.displayhook = sys_view.__displayhook__ = disguise(displayhook, "sys")


def make_os(builtins: ModuleType, environ: Environ, recorded: Any) -> ModuleType:
    """Make an ``os`` with the environment of the namespace.

    Its Python functions have the code of the real ones and the globals of the view. So each keeps
    its exact signature and reads the ``environ`` of the view.
    """
    view = _bind_functions(os, builtins)
    own = vars(view)
    own["environ"] = environ
    own["environb"] = environ.as_bytes()

    def putenv(name: str | bytes, value: str | bytes, /) -> None:
        environ.put(os.fsencode(name), os.fsencode(value))

    def unsetenv(name: str | bytes, /) -> None:
        environ.unset(os.fsencode(name))

    def system(command: str) -> int:
        argv = ["/bin/sh", "-c", command]
        pid = os.posix_spawn(argv[0], argv, environ.inherited)
        return os.waitpid(pid, 0)[1]

    def register_at_fork(
        *,
        before: Callable[[], object] | None = None,
        after_in_child: Callable[[], object] | None = None,
        after_in_parent: Callable[[], object] | None = None,
    ) -> None:
        if before is None and after_in_child is None and after_in_parent is None:
            raise TypeError("At least one argument is required.")
        recorded.fork_functions.append((before, after_in_parent, after_in_child))

    def fdopen(
        fd: int, mode: str = "r", buffering: int = -1, encoding: str | None = None,
        *args: Any, **kwargs: Any,
    ) -> Any:  # fmt: skip
        if not isinstance(fd, int):
            raise TypeError(f"invalid fd type ({type(fd)}, expected integer)")
        if "b" not in mode:
            encoding = io.text_encoding(encoding)
        return streams.reopen(fd, mode, buffering, encoding, *args, **kwargs)

    for function in (putenv, unsetenv, system, register_at_fork, fdopen):
        own[function.__name__] = disguise(function, "os")
    return view


def make_inspect(builtins: ModuleType, sys_view: ModuleType) -> ModuleType:
    """Make an ``inspect`` that looks for modules in the ``sys.modules`` of the namespace."""
    view = _bind_functions(inspect, builtins)
    vars(view).update(sys=sys_view, modulesbyfile={}, _filesbymodname={})
    return view


def make_parent(package: ModuleType) -> ModuleType:
    """Make a view of a package some of whose submodules are views. It has no submodules yet."""
    view = copy(package)
    for name in [name for name, value in vars(view).items() if isinstance(value, ModuleType)]:
        del vars(view)[name]
    return view


def make_urllib_request(builtins: ModuleType) -> ModuleType:
    """Make a ``urllib.request`` whose ``urlopen`` has its own opener, and so its own proxies."""
    view = _bind_functions(sys.modules["urllib.request"], builtins)
    vars(view)["_opener"] = None
    return view


def make_futures(builtins: ModuleType) -> ModuleType:
    """Make a ``concurrent.futures`` whose ``ProcessPoolExecutor`` is imported in the namespace.

    That class starts child processes by ``multiprocessing``, and each namespace has its own.
    """
    view = _bind_functions(sys.modules["concurrent.futures"], builtins)
    for name in ("ProcessPoolExecutor", "process"):
        vars(view).pop(name, None)
    return view


def copy(module: ModuleType) -> ModuleType:
    """Make a module with the same name and attributes."""
    view = ModuleType(module.__name__)
    vars(view).update(vars(module))
    return view


def _bind_functions(module: ModuleType, builtins: ModuleType) -> ModuleType:
    view = copy(module)
    own = vars(view)
    own["__builtins__"] = vars(builtins)
    for name, value in vars(module).items():
        if isinstance(value, FunctionType) and value.__globals__ is vars(module):
            bound = FunctionType(
                value.__code__, own, value.__name__, value.__defaults__, value.__closure__
            )
            bound.__kwdefaults__ = value.__kwdefaults__
            bound.__annotations__ = value.__annotations__
            bound.__doc__ = value.__doc__
            bound.__module__ = value.__module__
            bound.__qualname__ = value.__qualname__
            vars(bound).update(vars(value))
            own[name] = bound
    return view


def disguise(function: Callable[..., Any], module: str) -> Callable[..., Any]:
    """Make ``function`` look like a function of ``module``, and return it."""
    function.__module__ = module
    function.__qualname__ = function.__name__
    return function


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"bytes expected, not {type(value).__name__}")
    return value
