"""Modules of the process as one namespace sees them.

A view shares functions and classes with the module it shows, and owns what must be the
namespace's: the import state and ``argv`` of ``sys``, the environment of ``os``, the exit
functions of ``atexit``, the handlers of ``signal``, the time zone of ``time``. What a site
registers through a view is recorded and never reaches the process.

Every view is a plain ``ModuleType``: ``importlib`` creates each module with ``type(sys)``, so a
subclass would become the type of all modules of the namespace.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any, NoReturn

from gateway.namespace.importer import Modules

_DYNAMIC = frozenset(
    {
        "__stderr__", "__stdin__", "__stdout__", "displayhook", "excepthook", "last_exc",
        "last_traceback", "last_type", "last_value", "ps1", "ps2", "stderr", "stdin", "stdout",
        "unraisablehook",
    }
)  # fmt: skip
"""Attributes of ``sys`` that the process may replace at any time."""


# os.environ is a MutableMapping of str to the type checker; its real class is private.
_EnvironBase: Any = type(os.environ)


@dataclass(slots=True)
class Recorded:
    """What the code of a namespace asked the process for, kept here instead."""

    exit_functions: list[tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]] = field(
        default_factory=list
    )
    signal_handlers: dict[int, Any] = field(default_factory=dict)
    before_fork: list[Callable[[], object]] = field(default_factory=list)
    after_fork_in_parent: list[Callable[[], object]] = field(default_factory=list)
    after_fork_in_child: list[Callable[[], object]] = field(default_factory=list)

    def run_exit_functions(self) -> list[BaseException]:
        """Call the ``atexit`` functions, the last registered first; returns what they raised."""
        errors: list[BaseException] = []
        while self.exit_functions:
            function, args, kwargs = self.exit_functions.pop()
            try:
                function(*args, **kwargs)
            except BaseException as exc:  # a site's SystemExit must not end the gateway
                errors.append(exc)
        return errors


class Environ(_EnvironBase):  # type: ignore[misc]
    """``os.environ`` of a namespace: the environment of its code and of its children.

    ``inherited`` is what a child process is given, which ``os.putenv`` changes and
    ``os.environ`` does not show, as in C.
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

    def put(self, key: bytes, value: bytes) -> None:
        """Give children ``key``; refuses what the C library's ``setenv`` refuses."""
        if not key or b"=" in key:
            raise ValueError("illegal environment variable name")
        if b"\0" in key or b"\0" in value:
            raise ValueError("embedded null byte")
        self.inherited[key] = value

    def unset(self, key: bytes) -> None:
        """Give children no ``key``."""
        self.inherited.pop(key, None)


def make_builtins() -> ModuleType:
    """A ``builtins`` module; its ``vars`` are the builtins dictionary of the namespace.

    Module and dictionary are one object, or patching ``builtins.input`` would have no effect.
    """
    view = ModuleType("builtins")
    vars(view).update(vars(sys.modules["builtins"]))
    return view


def make_sys(modules: Modules, path: Iterable[str], prefix: str | None) -> ModuleType:
    """A ``sys`` that owns the import state, ``argv`` and what tells the virtual environment."""
    view = ModuleType("sys")
    own = vars(view)
    own.update((k, v) for k, v in vars(sys).items() if k not in _DYNAMIC)
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
        if name in _DYNAMIC:
            return getattr(sys, name)
        raise AttributeError(f"module 'sys' has no attribute {name!r}")

    own["__getattr__"] = __getattr__
    return view


def make_os(builtins: ModuleType, environ: Environ, recorded: Recorded) -> ModuleType:
    """An ``os`` with the environment of the namespace.

    Its Python functions are the real ones bound to the view's globals, so each keeps its exact
    signature and reads the view's ``environ``.
    """
    view = _bind_functions(os, builtins)
    own = vars(view)
    own["environ"] = environ
    own["environb"] = _EnvironBase(environ._data, _bytes, _bytes, _bytes, _bytes)

    def putenv(name: str | bytes, value: str | bytes, /) -> None:
        environ.put(os.fsencode(name), os.fsencode(value))

    def unsetenv(name: str | bytes, /) -> None:
        environ.unset(os.fsencode(name))

    def execv(path: Any, argv: Any, /) -> NoReturn:
        os.execve(path, argv, environ.inherited)

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
        for function, functions in (
            (before, recorded.before_fork),
            (after_in_child, recorded.after_fork_in_child),
            (after_in_parent, recorded.after_fork_in_parent),
        ):
            if function is not None:
                functions.append(function)

    for function in (putenv, unsetenv, execv, system, register_at_fork):
        own[function.__name__] = _disguise(function, "os")
    return view


def make_atexit(recorded: Recorded) -> ModuleType:
    """An ``atexit`` whose functions run when the namespace is unloaded."""
    functions = recorded.exit_functions
    view = _copy(atexit)

    def register(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        if not callable(func):
            raise TypeError("the first argument must be callable")
        functions.append((func, args, kwargs))
        return func

    def unregister(func: Callable[..., Any], /) -> None:
        functions[:] = [entry for entry in functions if entry[0] != func]

    def _run_exitfuncs() -> None:
        errors = recorded.run_exit_functions()
        if errors:
            raise errors[-1]

    def _ncallbacks() -> int:
        return len(functions)

    for function in (register, unregister, functions.clear, _run_exitfuncs, _ncallbacks):
        name = "_clear" if function.__name__ == "clear" else function.__name__
        vars(view)[name] = function
    return view


def make_signal(recorded: Recorded) -> ModuleType:
    """A ``signal`` that records handlers; the process keeps its own."""
    handlers = recorded.signal_handlers
    view = _copy(signal)

    def signal_(signalnum: int, handler: Any) -> Any:
        number = signal.Signals(signalnum)
        if not callable(handler) and handler not in (signal.SIG_IGN, signal.SIG_DFL):
            raise TypeError(
                "signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object"
            )
        previous = getsignal(number)
        handlers[number] = handler
        return previous

    def getsignal(signalnum: int) -> Any:
        return handlers.get(signal.Signals(signalnum), signal.SIG_DFL)

    def set_wakeup_fd(fd: int, /, *, warn_on_full_buffer: bool = True) -> int:
        return -1

    signal_.__name__ = signal_.__qualname__ = "signal"
    for function in (signal_, getsignal, set_wakeup_fd):
        vars(view)[function.__name__] = _disguise(function, "signal")
    return view


def make_time() -> ModuleType:
    """A ``time`` whose ``tzset`` leaves the zone of the process alone."""
    view = _copy(time)

    def tzset() -> None:
        """Recorded only: the C library has one time zone for the process."""

    vars(view)["tzset"] = _disguise(tzset, "time")
    return view


def _copy(module: ModuleType) -> ModuleType:
    view = ModuleType(module.__name__)
    vars(view).update(vars(module))
    return view


def _bind_functions(module: ModuleType, builtins: ModuleType) -> ModuleType:
    view = _copy(module)
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


def _disguise(function: Callable[..., Any], module: str) -> Callable[..., Any]:
    function.__module__ = module
    function.__qualname__ = function.__name__
    return function


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"bytes expected, not {type(value).__name__}")
    return value
