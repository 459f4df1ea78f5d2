"""psycopg2, whose tables of adapters and typecasters have one slot for a key."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from gateway.namespace import callers, tables
from gateway.namespace.libraries.library import Library
from gateway.namespace.views import disguise


class Psycopg2(Library):
    """``register_adapter`` and ``register_type`` of its ``extensions`` fill tables of its C code.

    The last one to register something would have it for all sites. So each namespace gets entries
    of its own, see `tables`.
    """

    name = "psycopg2"
    otherwise = "what a site registers with it counts for all sites that share it"

    def __init__(self) -> None:
        self._tables: dict[int, list[tables.Table]] = {}

    def imported(self, modules: Mapping[str, ModuleType]) -> None:
        """Give each namespace its own adapters and typecasters. It is tried once for each unit."""
        if self.name not in modules:
            return  # it is still registering what is for all
        extensions: Any = modules["psycopg2.extensions"]
        divided: list[tables.Table] = []
        if self._tables.setdefault(id(extensions), divided) is divided:
            divided += _divide(extensions, modules)

    def released(self, domain: callers.Domain) -> None:
        """Forget what ``domain`` has registered."""
        for divided in self._tables.values():
            for table in divided:
                table.release(domain)


def _divide(extensions: Any, modules: Mapping[str, ModuleType]) -> Iterable[tables.Table]:
    """Replace the functions that register, in all of ``modules``; others get them from these.

    Everything that is needed of the library is looked up before anything is replaced.
    """
    error: Any = modules["psycopg2"].ProgrammingError
    protocol = extensions.ISQLQuote
    new_type = extensions.new_type

    def cannot_adapt(value: Any) -> Any:
        """Do what C does for a class without an entry; its own search has found our slot."""
        for base in type(value).__mro__[1:]:
            adapter = adapters.find((base, protocol))
            if adapter is not None:
                return adapter(value)
        if hasattr(value, "__conform__"):
            return value.__conform__(protocol)
        raise error(f"can't adapt type {type(value).__name__!r}")

    def typecaster(oid: int, function: tables.Function) -> Any:
        return new_type((oid,), "OF_THE_ASKER", function)

    adapters = tables.Table(extensions.adapters, cannot_adapt)
    types = tables.Table(extensions.string_types, extensions.UNICODE, typecaster)
    register_for_all = extensions.register_adapter
    register_type_for_all = extensions.register_type

    def register_adapter(typ: Any, callable: tables.Function) -> None:
        domain = _registering()
        if domain is None:
            register_for_all(typ, callable)
        else:
            adapters.register(domain, (typ, protocol), callable)

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
    return adapters, types


def _registering() -> callers.Domain | None:
    """The namespace that registers something; ``None`` if a module of a unit does, for all."""
    frame = sys._getframe(2)
    domain = callers.domain_of(frame.f_builtins)
    if domain is not None and domain.transparent and frame.f_code.co_name == "<module>":
        return None
    return callers.namespace()
