"""Remove what a site leaves in registries of shared code, which nobody else empties.

Each entry that stays would keep the whole generation in memory after its unload. Registries lose
the entries that the code of the namespace wrote. Caches, which only save work, are emptied.
"""

from __future__ import annotations

import _warnings
import copy
import email.headerregistry
import email.policy
import linecache
import pprint
import typing
import weakref
import xml.dom.domreg
from collections.abc import Callable, MutableMapping
from typing import Any, cast

from gateway.namespace import callers, standins

_REGISTRIES: tuple[MutableMapping[Any, Any], ...] = (
    copy._deepcopy_dispatch,  # type: ignore[attr-defined]
    copy._copy_dispatch,  # type: ignore[attr-defined]
    email.policy.default.header_factory.registry,  # type: ignore[attr-defined]
    pprint.PrettyPrinter._dispatch,  # type: ignore[attr-defined]
    xml.dom.domreg.registered,
    getattr(typing, "_caches", {}),  # from Python 3.12 on
)
_CACHES: list[Callable[[], None]] = typing._cleanups  # type: ignore[attr-defined]
"""The ``cache_clear`` of each function that ``typing._tp_cache`` decorates, also in libraries."""


def finalize(domain: callers.Domain) -> list[BaseException]:
    """Run the ``weakref.finalize`` objects of ``domain``, as the end of a process would.

    Returns the exceptions that they raised.
    """
    errors: list[BaseException] = []
    finalizers: list[weakref.finalize[Any, Any]] = list(
        weakref.finalize._registry  # type: ignore[attr-defined]
    )
    for finalizer in reversed(finalizers):
        found = finalizer.peek()
        if found is None or not _concerns(domain, found):
            continue
        try:
            if finalizer.atexit:
                finalizer()
        except BaseException as exc:
            errors.append(exc)
        finalizer.detach()
    return errors


def clear(domain: callers.Domain) -> None:
    """Remove the entries that ``domain`` wrote into registries of shared code."""
    for registry in _REGISTRIES:
        take_out(registry, domain)
    for clear_cache in list(_CACHES):
        clear_cache()
        if callers.author(_cached_by(clear_cache)) is domain:
            _CACHES.remove(clear_cache)
    _let_lines_be_forgotten()
    _let_warnings_forget()


def take_out(registry: MutableMapping[Any, Any], domain: callers.Domain) -> None:
    """Remove each entry of which the key or the value was written by the code of ``domain``."""
    for key, value in list(registry.items()):
        if domain in (callers.author(key), callers.author(value)):
            del registry[key]


def _cached_by(cache_clear: Callable[[], None]) -> object:
    """Return the function whose results are in the cache that ``cache_clear`` empties."""
    return getattr(getattr(cache_clear, "__self__", None), "__wrapped__", None)


class _Unheard(Warning):
    """A warning that is always ignored; issuing it makes ``_warnings`` read its list of filters."""


def _let_lines_be_forgotten() -> None:
    """Empty the entries of `linecache` that have yet to ask a loader for the lines of a module.

    They refer to loaders of all namespaces. A file that is asked for once more is simply read.
    """
    for file, entry in list(linecache.cache.items()):
        if len(entry) == 1:
            linecache.cache.pop(file, None)


def _let_warnings_forget() -> None:
    """Make ``_warnings`` hold the filters of the process instead of those of a namespace.

    ``_warnings`` (in C) keeps the list of filters that it read last. ``catch_warnings`` of the
    namespace may have made that list. We cannot take it away, but a warning of the process makes
    ``_warnings`` read the list of the process.
    """
    filters = cast(Any, standins.replaced("warnings")).filters
    ignoring = ("ignore", None, _Unheard, None, 0)
    filters.insert(0, ignoring)
    try:
        callers.for_process(_warnings.warn_explicit, "", _Unheard, "", 0)
    finally:
        filters.remove(ignoring)


def _concerns(
    domain: callers.Domain, found: tuple[Any, Callable[..., Any], tuple[Any, ...], dict[str, Any]]
) -> bool:
    _, function, args, kwargs = found
    held = (function, getattr(function, "__self__", None), *args, *kwargs.values())
    return any(callers.author(value) is domain for value in held)
