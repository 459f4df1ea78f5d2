"""What database drivers keep for the whole process, and each namespace is to have for itself.

psycopg2 has tables with one slot for a key (``tables.py``). psycopg 3 has two objects, its
``adapters`` and the ``types`` of PostgreSQL, that every connection begins with a copy of: what one
site registers would count for all, and each connection of another would hold its classes.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping, MutableMapping
from types import ModuleType
from typing import Any

from gateway.namespace import callers, cleanup, tables
from gateway.namespace.views import disguise


def divide_psycopg(modules: Mapping[str, ModuleType]) -> None:
    """Give each namespace its own adapters and types in a psycopg that many share."""
    if "psycopg" not in modules:
        return  # it is still at registering what is for all
    postgres: Any = modules["psycopg.postgres"]
    if f"adapters of {id(postgres)}" not in tables.ALL:
        tables.ALL[f"optimised of {id(postgres)}"] = _Cache(type(postgres.adapters)._optimised)
        tables.ALL[f"types of {id(postgres)}"] = _Divided(postgres.types)
        tables.ALL[f"adapters of {id(postgres)}"] = _Divided(postgres.adapters)


class _Cache:
    """A mapping that is good for all, and keeps classes of each."""

    def __init__(self, mapping: MutableMapping[Any, Any]) -> None:
        self._mapping = mapping

    def release(self, domain: callers.Domain) -> None:
        """See ``tables.Released``."""
        cleanup.take_out(self._mapping, domain)


class _Divided:
    """Has an object show each namespace a state of its own, copied from what it is now.

    The class of the object makes such a copy of what it is called with.
    """

    def __init__(self, shared: Any) -> None:
        cls: Callable[[Any], Any] = type(shared)
        self._copy = cls
        self._common = cls(shared)
        self._copies: weakref.WeakKeyDictionary[callers.Domain, Any] = weakref.WeakKeyDictionary()
        state = vars(shared)
        # What refers to another object of the kind goes on doing so: that one is divided itself.
        divided = [name for name in state if name != "types"]
        shared.__class__ = type(
            type(shared).__name__,
            (type(shared),),
            {
                "__doc__": type(shared).__doc__,
                "__module__": type(shared).__module__,
                **{name: self._attribute(name) for name in divided},
            },
        )
        for name in divided:
            del state[name]

    def release(self, domain: callers.Domain) -> None:
        """See ``tables.Released``."""
        self._copies.pop(domain, None)

    def _of_asker(self) -> Any:
        domain = callers.namespace()
        if domain is None:
            return self._common
        copy = self._copies.get(domain)
        if copy is None:
            copy = self._copies[domain] = self._copy(self._common)
        return copy

    def _attribute(self, name: str) -> property:
        def get(_: Any) -> Any:
            return getattr(self._of_asker(), name)

        def set(_: Any, value: Any) -> None:
            setattr(self._of_asker(), name, value)

        return property(get, set)


def divide_psycopg2(modules: Mapping[str, ModuleType]) -> None:
    """Give each namespace its own adapters and typecasters in a psycopg2 that many share.

    ``modules`` are those of the unit that are loaded; others get the functions from these.
    """
    extensions: Any = modules.get("psycopg2.extensions")
    c_module: Any = modules.get("psycopg2._psycopg")
    if extensions is None or c_module is None or f"adapters of {id(extensions)}" in tables.ALL:
        return

    def cannot_adapt(value: Any) -> Any:
        """As C does without an entry for the very class; its own search found ours."""
        for base in type(value).__mro__[1:]:
            adapter = adapters.find((base, extensions.ISQLQuote))
            if adapter is not None:
                return adapter(value)
        if hasattr(value, "__conform__"):
            return value.__conform__(extensions.ISQLQuote)
        raise c_module.ProgrammingError(f"can't adapt type {type(value).__name__!r}")

    def typecaster(oid: int, function: tables.Function) -> Any:
        return extensions.new_type((oid,), "OF_THE_ASKER", function)

    adapters = tables.table(f"adapters of {id(extensions)}", extensions.adapters, cannot_adapt)
    types = tables.ALL[f"types of {id(extensions)}"] = tables.Table(
        extensions.string_types, extensions.UNICODE, typecaster
    )
    register_for_all = extensions.register_adapter
    register_type_for_all = extensions.register_type

    def register_adapter(typ: Any, callable: tables.Function) -> None:
        domain = _registering()
        if domain is None:
            register_for_all(typ, callable)
        else:
            adapters.register(domain, (typ, extensions.ISQLQuote), callable)

    def register_type(obj: Any, scope: Any = None) -> None:
        domain = _registering()
        if domain is None or scope is not None:
            register_type_for_all(obj, scope)
        else:
            for oid in obj.values:
                types.register(domain, oid, obj)

    for function in (register_adapter, register_type):
        before = getattr(extensions, function.__name__)
        disguise(function, before.__module__)
        for module in modules.values():
            if vars(module).get(function.__name__) is before:
                setattr(module, function.__name__, function)


def _registering() -> callers.Domain | None:
    """The namespace that registers something; what a module of a unit does itself is for all."""
    frame = sys._getframe(2)
    domain = callers.domain_of(frame.f_builtins)
    if domain is not None and domain.transparent and frame.f_code.co_name == "<module>":
        return None
    return callers.namespace()
