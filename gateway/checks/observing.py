"""Find out what the code of a site does to the process that loads it; used in a scratch process."""

from __future__ import annotations

import decimal
import importlib
import locale
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from types import FunctionType, ModuleType
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.checks.facts import Patch, Thread, Unit
from gateway.namespace import Namespace, callers, layers

_PATCHED_IN_PRACTICE: Final = (
    "asyncio",
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "datetime",
    "http.client",
    "http.server",
    "json",
    "pickle",
    "queue",
    "select",
    "selectors",
    "smtplib",
    "socket",
    "socketserver",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "traceback",
    "urllib.request",
    "warnings",
)
"""Modules that monitoring and asynchronous libraries patch. They are imported before the site, to
know how they were."""

_DAY: Final = 86400
_DESCRIPTORS: Final = (classmethod, staticmethod, property)

_CONFINED: Final = "gateway.namespace."
"""The start of the names of modules with functions that namespaces put in place of patches."""
_SETTINGS: Final[Mapping[str, Callable[[], object]]] = {
    "the locale": lambda: locale.setlocale(locale.LC_ALL),
    "the recursion limit": sys.getrecursionlimit,
    "the default context of decimal": lambda: decimal.DefaultContext,
}
"""Settings that a site can change for all sites, each with a function that reads it."""


class Before:
    """The state of the process before the site is loaded."""

    def __init__(self) -> None:
        for name in _PATCHED_IN_PRACTICE:
            importlib.import_module(name)
        self._modules = frozenset(sys.modules)
        self._shared = dict(_shared_code())
        self._settings = {what: str(read()) for what, read in _SETTINGS.items()}

    def patches(self, namespace: Namespace) -> tuple[Patch, ...]:
        """Return what the site has replaced in, or added to, modules and classes that all share."""
        own_builtins = vars(namespace.modules["builtins"])
        found = []
        for (owner, attribute), value in _shared_code():
            module, _, inside_class = owner.partition(":")
            before = self._shared.get((owner, attribute))
            if before is value:
                continue
            maker = _maker(value)
            confined = maker.startswith(_CONFINED)
            if confined:
                is_patch = True
            elif module not in self._modules:
                # The site has imported the module. Everything in it is its own, except code that
                # was written in the site.
                is_patch = getattr(_function(value), "__builtins__", None) is own_builtins
            else:
                # An attribute added to a module is no patch: it is a submodule, or a lazy module
                # has made it when it was asked for.
                is_patch = before is not None or bool(inside_class)
            if is_patch:
                target = f"{owner.replace(':', '.')}.{attribute}"
                found.append(Patch(target, maker, confined))
        return tuple(found)

    def changed(self) -> dict[str, str]:
        """Return the settings of the process that are different now, and how."""
        now = {what: str(read()) for what, read in _SETTINGS.items()}
        return {
            what: f"{before} to {now[what]}"
            for what, before in self._settings.items()
            if before != now[what]
        }


def _shared_code() -> Iterator[tuple[tuple[str, str], object]]:
    """Yield the functions and classes of shared modules and the members of these classes.

    Functions and classes are named ``(module, name)``, and members ``(module:class, name)``. Each
    comes with its value.
    """
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if top not in callers.STDLIB or top in layers.PRIVATE:
            continue
        if type(module) is not ModuleType:  # a stand-in, or it confines patches by itself
            continue
        for attribute, value in list(vars(module).items()):
            if not callable(value):
                continue
            yield (name, attribute), value
            if isinstance(value, type) and value.__module__ == name:
                for inner, member in list(vars(value).items()):
                    if isinstance(member, _DESCRIPTORS) or callable(member):
                        yield (f"{name}:{attribute}", inner), member


def _function(value: Any) -> Any:
    """Return the function inside a method, a property or the like."""
    if isinstance(value, property):
        value = value.fget
    return getattr(value, "__func__", value)


def _maker(value: Any) -> str:
    """Return the module that a function was written in, even if ``__module__`` says another."""
    function = _function(value)
    if isinstance(function, FunctionType):
        return str(function.__globals__.get("__name__"))
    return str(getattr(function, "__module__", None) or type(function).__module__)


def signals(namespace: Namespace) -> dict[str, bool]:
    """Return the signals that the site has set a handler for; true if that is its own function."""
    return {
        signal.Signals(number).name: callable(handler)
        for number, handler in namespace.recorded.signal_handlers.items()
    }


def locales(namespace: Namespace) -> dict[str, str]:
    """Return the locales that the site asked for and the process does not have, by category."""
    names = {getattr(locale, name): name for name in dir(locale) if name.startswith("LC_")}
    return {
        names.get(category, str(category)): wanted
        for category, wanted in namespace.recorded.locales.items()
        if wanted not in ("C", locale.setlocale(category))
    }


def running_threads(namespace: Namespace) -> list[threading.Thread]:
    """Return the threads that code of the site has started and that have not ended."""
    return [
        thread
        for thread in threading.enumerate()
        if thread.ident is not None and callers.thread_owner(thread.ident) is namespace
    ]


def outcome(threads: list[threading.Thread], seconds: float) -> tuple[Thread, ...]:
    """Wait up to ``seconds`` for all threads to end, and tell for each whether it still runs."""
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return tuple(Thread(thread.name, thread.is_alive()) for thread in threads)


def process_zone() -> str:
    """Return the time zone of the process for people: ``TZ``, else the abbreviations in use."""
    return os.environ.get("TZ") or "/".join(dict.fromkeys(time.tzname))


def is_other_zone(time_zone: str) -> bool:
    """Tell whether a clock in ``time_zone`` ever differs from the clock of the process.

    The two are compared on each day of a year. Names cannot be compared, since one zone has many.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (ValueError, OSError):
        return False  # Django has already reported that there is no such zone
    now = int(time.time())
    return any(
        time.localtime(moment).tm_gmtoff != _offset(zone, moment)
        for moment in range(now, now + 366 * _DAY, _DAY)
    )


def _offset(zone: ZoneInfo, moment: int) -> float | None:
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    return None if offset is None else offset.total_seconds()


def units(namespace: Namespace) -> tuple[Unit, ...]:
    """Return the units of the environment layer that the site can use."""
    specs = dict.fromkeys(namespace.environment.units.values())
    direct = {
        spec for prefix, spec in namespace.environment.units.items() if prefix in namespace.modules
    }
    owners = {item.name: spec for spec in specs for item in spec.distributions}
    loaded, pending = set(direct), list(direct)
    while pending:  # a unit imports the units that it requires without the site seeing them
        for item in pending.pop().distributions:
            below = {owners[name] for name in item.requires & owners.keys()} - loaded
            loaded |= below
            pending += below
    return tuple(
        Unit(
            label=spec.label,
            key=spec.key,
            packages={item.name: item.version for item in spec.distributions},
            versions=spec.versions,
            files=tuple(sorted(f"{device}:{inode}" for device, inode in spec.inodes)),
            loaded=spec in loaded,
        )
        for spec in specs
        if any(item.native for item in spec.distributions)
    )
