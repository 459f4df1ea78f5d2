"""Settings of the process that belong to the namespace of a site instead.

A site gets views of ``atexit``, ``faulthandler``, ``gc``, ``locale``, ``signal``, ``socket``,
``threading`` and ``time``. What it sets there is recorded, what it asks for is the record, and the
process stays as it is. Some records are used: exit functions run when the namespace is unloaded,
and fork functions run around a fork. A socket that the site opens gets the default timeout of the
site. An exception that ends a thread of the site reaches the hook of the site.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import locale
import operator
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from types import CodeType, ModuleType
from typing import Any

from gateway.namespace.encodings import Encodings
from gateway.namespace.views import copy, disguise

Hook = Callable[[], object] | None


class Unset:
    """Nothing has been recorded."""


@dataclass(slots=True)
class Recorded:
    """The records of one namespace."""

    exit_functions: list[tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]] = field(
        default_factory=list
    )
    signal_handlers: dict[int, Any] = field(default_factory=dict)
    fork_functions: list[tuple[Hook, Hook, Hook]] = field(default_factory=list)
    """For each, the functions before a fork, after it in the parent, and after it in the child."""
    locales: dict[int, str] = field(default_factory=dict)
    socket_timeout: float | type[Unset] | None = Unset
    """Seconds, as ``socket.setdefaulttimeout`` takes them."""
    stack_size: int = 0
    """Bytes, as ``threading.stack_size`` takes them."""
    encodings: Encodings = field(default_factory=Encodings)
    dictionaries: dict[Any, MutableMapping[Any, Any]] = field(default_factory=dict)
    """The namespace's own copies of dictionaries of shared code, by the stand-in of each."""

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


def make_atexit(recorded: Recorded) -> ModuleType:
    """Make an ``atexit`` whose functions run when the namespace is unloaded."""
    functions = recorded.exit_functions
    view = copy(atexit)

    def register(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        if not callable(func):
            raise TypeError("the first argument must be callable")
        functions.append((func, args, kwargs))
        return func

    def unregister(func: Callable[..., Any], /) -> None:
        functions[:] = [entry for entry in functions if entry[0] != func]

    def _clear() -> None:
        functions.clear()

    def _run_exitfuncs() -> None:
        errors = recorded.run_exit_functions()
        if errors:
            raise errors[-1]

    def _ncallbacks() -> int:
        return len(functions)

    return _replace(view, register, unregister, _clear, _run_exitfuncs, _ncallbacks)


def make_faulthandler() -> ModuleType:
    """Make a ``faulthandler`` in which the handler for crashes stays as the process has set it.

    The process has one such handler, which writes to one file.
    """
    enabled = False

    def enable(file: Any = None, all_threads: bool = True, **options: Any) -> None:
        nonlocal enabled
        enabled = True

    def disable() -> bool:
        nonlocal enabled
        before, enabled = enabled, False
        return before

    def is_enabled() -> bool:
        return enabled

    return _replace(copy(faulthandler), enable, disable, is_enabled)


def make_signal(recorded: Recorded) -> ModuleType:
    """Make a ``signal`` that records handlers and starts no timers.

    No handler is installed, so the signal of a timer would end the process.
    """
    handlers = recorded.signal_handlers

    def valid(signalnum: int) -> int:
        number = operator.index(signalnum)
        if not 0 < number < signal.NSIG:
            raise ValueError("signal number out of range")
        return number

    def signal_(signalnum: int, handler: Any) -> Any:
        number = valid(signalnum)
        if not callable(handler) and handler not in (signal.SIG_IGN, signal.SIG_DFL):
            raise TypeError(
                "signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object"
            )
        previous = getsignal(number)
        handlers[number] = handler
        return previous

    def getsignal(signalnum: int) -> Any:
        return handlers.get(valid(signalnum), signal.SIG_DFL)

    def alarm(seconds: int, /) -> int:
        return 0

    def setitimer(which: int, seconds: float, interval: float = 0.0, /) -> tuple[float, float]:
        return 0.0, 0.0

    def set_wakeup_fd(fd: int, /, *, warn_on_full_buffer: bool = True) -> int:
        return -1

    signal_.__name__ = "signal"
    return _replace(copy(signal), signal_, getsignal, alarm, setitimer, set_wakeup_fd)


def make_time() -> ModuleType:
    """Make a ``time`` whose ``tzset`` does nothing: C has one time zone for the process."""

    def tzset() -> None:
        """Do nothing."""

    return _replace(copy(time), tzset)


def make_gc() -> ModuleType:
    """Make a ``gc`` that cannot stop or tune the collector of the process; ``collect`` works."""
    view = copy(gc)
    vars(view)["callbacks"] = []
    state = {"enabled": True, "threshold": gc.get_threshold(), "debug": 0}

    def enable() -> None:
        state["enabled"] = True

    def disable() -> None:
        state["enabled"] = False

    def isenabled() -> bool:
        return bool(state["enabled"])

    def set_threshold(threshold0: int, *others: int) -> None:
        state["threshold"] = (threshold0, *others, *gc.get_threshold()[1 + len(others) :])

    def get_threshold() -> Any:
        return state["threshold"]

    def set_debug(flags: int) -> None:
        state["debug"] = flags

    def get_debug() -> Any:
        return state["debug"]

    def freeze() -> None:
        """Do nothing: what other sites unload would be kept."""

    def unfreeze() -> None:
        """Do nothing: nothing has been frozen."""

    return _replace(
        view,
        enable,
        disable,
        isenabled,
        set_threshold,
        get_threshold,
        set_debug,
        get_debug,
        freeze,
        unfreeze,
    )


def make_locale(recorded: Recorded) -> ModuleType:
    """Make a ``locale`` whose ``setlocale`` has no effect: C has one locale for the process."""
    locales = recorded.locales
    build: Callable[..., str] = locale._build_localename  # type: ignore[attr-defined]

    def setlocale(category: int, locale: Any = None) -> str:
        if locale is not None:
            name = locale if isinstance(locale, str) else build(locale)
            locales[category] = name or "C"
        return locales.get(category) or _locale_of_process(category)

    return _replace(copy(locale), setlocale)


def _locale_of_process(category: int) -> str:
    return locale.setlocale(category)


def make_socket(recorded: Recorded) -> ModuleType:
    """Make a ``socket`` with a default timeout that belongs to the namespace."""

    def setdefaulttimeout(timeout: float | None, /) -> None:
        if timeout is not None and timeout < 0:
            raise ValueError("Timeout value out of range")
        recorded.socket_timeout = timeout

    def getdefaulttimeout() -> float | None:
        timeout = recorded.socket_timeout
        return socket.getdefaulttimeout() if isinstance(timeout, type) else timeout

    return _replace(copy(socket), setdefaulttimeout, getdefaulttimeout)


def make_threading(recorded: Recorded) -> ModuleType:
    """Make a ``threading`` whose ``excepthook`` is the namespace's; see ``excepthook_of``.

    Trace and profile functions for all threads are recorded only, because they would run for all
    sites. Functions of ``_register_atexit`` run before the other exit functions, as in Python.
    """
    view = copy(threading)

    def _register_atexit(func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        recorded.exit_functions.append((func, args, kwargs))

    for kind in ("trace", "profile"):
        _replace(view, *_hook_for_threads(kind))
    return _replace(view, _register_atexit)


def _hook_for_threads(kind: str) -> list[Callable[..., Any]]:
    """Make functions like ``threading.settrace`` and ``gettrace`` that only record a hook."""
    recorded: list[Any] = [None]

    def set_hook(func: Any) -> None:
        recorded[0] = func

    def get_hook() -> Any:
        return recorded[0]

    def set_hook_all_threads(func: Any) -> None:
        recorded[0] = func

    get_hook.__name__ = f"get{kind}"
    set_hook.__name__ = f"set{kind}"
    set_hook_all_threads.__name__ = f"set{kind}_all_threads"
    functions = (get_hook, set_hook, set_hook_all_threads)
    return [each for each in functions if hasattr(threading, each.__name__)]


def excepthook_of(view: ModuleType) -> Callable[[Any], object] | None:
    """Return the hook that a site has put into its view of ``threading``, if it has."""
    hook: Callable[[Any], object] = view.__dict__["excepthook"]
    return None if hook is threading.__excepthook__ else hook


def limit_sys(view: ModuleType) -> None:
    """Keep what a site sets in its view of ``sys``; only a higher recursion limit has an effect."""
    state: dict[str, Any] = {}

    def setrecursionlimit(limit: int, /) -> None:
        if limit > sys.getrecursionlimit():
            sys.setrecursionlimit(limit)
        elif limit < 1:
            raise ValueError("recursion limit must be greater or equal than 1")
        state["recursion"] = limit

    def getrecursionlimit() -> int:
        return int(state.get("recursion", sys.getrecursionlimit()))

    def setswitchinterval(interval: float, /) -> None:
        if interval <= 0:
            raise ValueError("switch interval must be strictly positive")
        state["switch"] = interval

    def getswitchinterval() -> float:
        return float(state.get("switch", sys.getswitchinterval()))

    def addaudithook(hook: Callable[..., object], /) -> None:
        """Do nothing: a hook would see what other sites do, and could never be taken out."""

    if (monitoring := getattr(sys, "monitoring", None)) is not None:  # from Python 3.12 on
        vars(view)["monitoring"] = _make_monitoring(monitoring)
    _replace(
        view,
        setrecursionlimit,
        getrecursionlimit,
        setswitchinterval,
        getswitchinterval,
        addaudithook,
    )


def _make_monitoring(monitoring: ModuleType) -> ModuleType:
    """Make a ``sys.monitoring`` that records: Python has its tools and events for all threads."""
    tools: dict[int, str] = {}
    events: dict[Any, int] = {}
    callbacks: dict[tuple[int, int], Any] = {}

    def use_tool_id(tool_id: int, name: str, /) -> None:
        if not 0 <= tool_id < 6:
            raise ValueError(f"invalid tool {tool_id} (must be between 0 and 5)")
        if tool_id in tools:
            raise ValueError(f"tool {tool_id} is already in use")
        tools[tool_id] = name

    def free_tool_id(tool_id: int, /) -> None:
        tools.pop(tool_id, None)

    def get_tool(tool_id: int, /) -> str | None:
        return tools.get(tool_id)

    def register_callback(tool_id: int, event: int, func: Any, /) -> Any:
        previous, callbacks[tool_id, event] = callbacks.get((tool_id, event)), func
        return previous

    def set_events(tool_id: int, event_set: int, /) -> None:
        events[tool_id] = event_set

    def get_events(tool_id: int, /) -> int:
        return events.get(tool_id, 0)

    def set_local_events(tool_id: int, code: CodeType, event_set: int, /) -> None:
        events[tool_id, code] = event_set

    def get_local_events(tool_id: int, code: CodeType, /) -> int:
        return events.get((tool_id, code), 0)

    def restart_events() -> None:
        """Do nothing: no event has been disabled."""

    return _replace(
        copy(monitoring),
        use_tool_id,
        free_tool_id,
        get_tool,
        register_callback,
        set_events,
        get_events,
        set_local_events,
        get_local_events,
        restart_events,
    )


def _replace(view: ModuleType, *functions: Callable[..., Any]) -> ModuleType:
    for function in functions:
        vars(view)[function.__name__] = disguise(function, view.__name__)
    return view
