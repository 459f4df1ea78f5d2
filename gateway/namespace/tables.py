"""Tables that the process has once for all sites, with one slot for each key.

``sqlite3.register_converter`` and ``register_adapter``, ``copyreg.pickle`` and similar functions
keep what was registered last, whoever registered it. Here the slot of a key holds a function that
finds out which namespace is calling ("the asker") and calls the entry of that one. If it has none,
the function calls what was in the slot before.
"""

from __future__ import annotations

import copyreg
import sys
import weakref
from collections.abc import Callable, MutableMapping
from types import ModuleType
from typing import Any

from gateway.namespace import callers
from gateway.namespace.views import copy, disguise

Function = Callable[..., Any]


class Table:
    """One such table.

    ``slots`` is the table of the process. ``absent`` is called where neither the asker has an entry
    nor the slot had one before. ``wrap`` turns a function into the value that a slot must hold; it
    gets the key and the function.
    """

    def __init__(
        self,
        slots: MutableMapping[Any, Any],
        absent: Function,
        wrap: Callable[[Any, Function], Any] = lambda key, function: function,
    ) -> None:
        self._slots = slots
        self._absent = absent
        self._wrap = wrap
        self._entries: dict[Any, weakref.WeakKeyDictionary[callers.Domain, Function]] = {}
        self._before: dict[Any, Function | None] = {}

    def register(self, domain: callers.Domain, key: Any, function: Function) -> None:
        """Make ``function`` the entry of ``domain`` for ``key``."""
        entries = self._entries.get(key)
        if entries is None:
            entries = self._entries[key] = weakref.WeakKeyDictionary()
            self._before[key] = self._slots.get(key)
            self._slots[key] = self._wrap(key, self._slot(key))
        entries[domain] = function

    def release(self, domain: callers.Domain) -> None:
        """Forget the entries of ``domain``; a slot that nobody uses any more is restored."""
        for key, entries in list(self._entries.items()):
            entries.pop(domain, None)
            if not entries:
                del self._entries[key]
                before = self._before.pop(key)
                if before is None:
                    self._slots.pop(key, None)
                else:
                    self._slots[key] = before

    def find(self, key: Any, depth: int = 0) -> Function | None:
        """Return the entry for the asker, else what the slot held before, else ``None``.

        ``depth`` is the number of frames to pass over, as for `callers.domains`; 0 is the caller.
        """
        entries = self._entries.get(key)
        if entries is None:
            return self._slots.get(key)
        domain = callers.namespace(depth + 1)
        function = entries.get(domain) if domain is not None else None
        return function or self._before.get(key)

    def _slot(self, key: Any) -> Function:
        def slot(*args: Any) -> Any:
            return (self.find(key, 1) or self._absent)(*args)

        return slot


_ALL: dict[str, Table] = {}
"""The tables of the standard library, each by a name."""


def release(domain: callers.Domain) -> None:
    """Forget what ``domain`` has registered with the standard library."""
    for table in list(_ALL.values()):
        table.release(domain)


def _table(name: str, slots: MutableMapping[Any, Any], absent: Function) -> Table:
    """Return the table with this name; makes it if there is none."""
    return _ALL.setdefault(name, Table(slots, absent))


def _unchanged(value: Any) -> Any:
    return value


def make_sqlite3(domain: callers.Domain, module: ModuleType) -> ModuleType:
    """Make a view of ``sqlite3``, ``sqlite3.dbapi2`` or ``_sqlite3`` for ``domain``."""
    _sqlite3 = sys.modules["_sqlite3"]
    adapters = _table("adapters", _sqlite3.adapters, _unchanged)
    converters = _table("converters", _sqlite3.converters, _unchanged)
    view = copy(module)

    def register_adapter(type: type, adapter: Function, /) -> None:
        adapters.register(domain, (type, _sqlite3.PrepareProtocol), adapter)

    def register_converter(typename: str, converter: Function, /) -> None:
        converters.register(domain, typename.upper(), converter)

    for function in (register_adapter, register_converter):
        vars(view)[function.__name__] = disguise(function, module.__name__)
    return view


def make_copyreg(domain: callers.Domain) -> ModuleType:
    """Make a view of ``copyreg`` for ``domain``."""
    reductions = _table("reductions", copyreg.dispatch_table, _reduce)
    view = copy(copyreg)

    def pickle(ob_type: type, pickle_function: Function, constructor_ob: Any = None) -> None:
        if not callable(pickle_function):
            raise TypeError("reduction functions must be callable")
        reductions.register(domain, ob_type, pickle_function)
        if constructor_ob is not None:
            copyreg.constructor(constructor_ob)

    vars(view)["pickle"] = disguise(pickle, "copyreg")
    return view


def _reduce(value: Any) -> Any:
    return value.__reduce_ex__(4)
