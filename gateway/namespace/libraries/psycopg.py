"""psycopg 3, whose connections begin with a copy of what the whole process has registered."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, MutableMapping
from types import ModuleType
from typing import Any

from gateway.namespace import callers, cleanup
from gateway.namespace.libraries.library import Library


class Psycopg(Library):
    """It has two objects for the whole process: its ``adapters``, and ``types`` of PostgreSQL.

    What one site registers there would count for all sites, and each connection of another site
    would hold classes of the first. So the objects show each namespace a state of its own.
    """

    name = "psycopg"
    otherwise = "what a site registers with it counts for all sites that share it"

    def __init__(self) -> None:
        self._parts: dict[int, list[_Cache | _Divided]] = {}

    def imported(self, modules: Mapping[str, ModuleType]) -> None:
        """Give each namespace its own adapters and types. It is tried once for each unit."""
        if self.name not in modules:
            return  # it is still registering what is for all
        postgres: Any = modules["psycopg.postgres"]
        parts: list[_Cache | _Divided] = []
        if self._parts.setdefault(id(postgres), parts) is parts:
            parts.append(_Cache(type(postgres.adapters)._optimised))
            parts.append(_Divided(postgres.types))
            parts.append(_Divided(postgres.adapters))

    def released(self, domain: callers.Domain) -> None:
        """Forget what ``domain`` has registered."""
        for parts in self._parts.values():
            for part in parts:
                part.release(domain)


class _Cache:
    """A mapping that all sites use, and that keeps classes of each site."""

    def __init__(self, mapping: MutableMapping[Any, Any]) -> None:
        self._mapping = mapping

    def release(self, domain: callers.Domain) -> None:
        """Take out the classes of ``domain``."""
        cleanup.take_out(self._mapping, domain)


class _Divided:
    """Makes an object show each namespace a state of its own, copied from what it is now.

    The class of the object has to make a copy of the object that it is called with.
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
        """Forget the state of ``domain``."""
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
