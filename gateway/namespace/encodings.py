"""Encodings and error handlers that a site registers with ``codecs``.

The interpreter has one table of each for the process, and remembers the first answer for an
encoding. So what it holds for a name that some site has registered is a function that asks who
is asking; to those that have registered nothing under the name it says what Python says of an
unknown one. Such a function holds nothing of a namespace and stays.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, cast

from gateway.namespace import callers
from gateway.namespace.views import copy, disguise

Search = Callable[[str], codecs.CodecInfo | None]
Handler = Callable[[UnicodeError], tuple[str | bytes, int]]

_dispatched: set[str] = set()
"""Names of error handlers for which the process has a function of ours."""


@dataclass(slots=True)
class Encodings:
    """What one namespace has registered."""

    searches: list[Search] = field(default_factory=list)
    handlers: dict[str, Handler] = field(default_factory=dict)

    def find(self, name: str) -> codecs.CodecInfo | None:
        """What the first search function that knows ``name`` says of it."""
        for search in self.searches:
            found = search(name)
            if found is not None:
                return found
        return None


def make_codecs(own: Encodings) -> ModuleType:
    """A view of ``codecs``."""

    def register(search_function: Search, /) -> None:
        if not callable(search_function):
            raise TypeError("argument must be callable")
        own.searches.append(search_function)

    def unregister(search_function: Search, /) -> None:
        if search_function in own.searches:
            own.searches.remove(search_function)

    def register_error(errors: str, handler: Handler, /) -> None:
        if not callable(handler):
            raise TypeError("handler must be callable")
        own.handlers[errors] = handler
        if errors not in _dispatched:
            _dispatched.add(errors)
            codecs.register_error(errors, _handler_of_the_asker(errors))

    def lookup_error(errors: str, /) -> Handler:
        return own.handlers.get(errors) or codecs.lookup_error(errors)

    view = copy(codecs)
    for function in (register, unregister, register_error, lookup_error):
        vars(view)[function.__name__] = disguise(function, "codecs")
    return view


def search_for_the_asker(name: str) -> codecs.CodecInfo | None:
    """The search function of the process; ``None`` where no site that asks knows ``name``."""
    if _find(name) is None:
        return None

    def found() -> codecs.CodecInfo:
        info = _find(name)
        if info is None:
            raise LookupError(f"unknown encoding: {name}")
        return info

    def passing_on(attribute: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: getattr(found(), attribute)(*args, **kwargs)

    return codecs.CodecInfo(
        passing_on("encode"),
        passing_on("decode"),
        passing_on("streamreader"),
        passing_on("streamwriter"),
        passing_on("incrementalencoder"),
        passing_on("incrementaldecoder"),
        name,
    )


def _find(name: str) -> codecs.CodecInfo | None:
    own = _of_the_asker()
    return own.find(name) if own is not None else None


def _handler_of_the_asker(name: str) -> Handler:
    try:
        before: Handler | None = codecs.lookup_error(name)
    except LookupError:
        before = None

    def handler(error: UnicodeError) -> tuple[str | bytes, int]:
        own = _of_the_asker()
        function = own.handlers.get(name, before) if own is not None else before
        if function is None:
            raise LookupError(f"unknown error handler name '{name}'")
        return function(error)

    return handler


def _of_the_asker() -> Encodings | None:
    namespace = callers.namespace()
    return cast(Any, namespace).recorded.encodings if namespace is not None else None
