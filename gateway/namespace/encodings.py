"""Encodings and error handlers that a site registers with ``codecs``.

The interpreter has one table of encodings and one of error handlers for the whole process, and it
remembers the first answer for an encoding. So for a name that some site has registered, the tables
hold a function of ours. It finds out which namespace is calling ("the asker") and uses what that
one has registered. If that one has registered nothing under the name, the result is as if our
function were not there. Our functions hold nothing of a namespace, so they can stay.
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
"""The names of error handlers for which the process's table holds a function of ours."""


@dataclass(slots=True)
class Encodings:
    """The search functions and error handlers that one namespace has registered."""

    searches: list[Search] = field(default_factory=list)
    handlers: dict[str, Handler] = field(default_factory=dict)

    def find(self, name: str) -> codecs.CodecInfo | None:
        """Return the answer of the first search function that knows ``name``, else ``None``."""
        for search in self.searches:
            found = search(name)
            if found is not None:
                return found
        return None


def make_codecs(own: Encodings) -> ModuleType:
    """Make a view of ``codecs`` for the namespace that ``own`` belongs to."""

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
    """Find an encoding that the asker has registered; ``None`` if it has registered no ``name``.

    This is the search function that the process has. Since the interpreter remembers the answer for
    all, each function of the answer asks again who is calling. It raises ``LookupError`` for those
    who do not have the encoding.
    """
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
