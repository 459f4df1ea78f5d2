"""wrapt, with whose wrappers monitoring libraries patch shared classes."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from gateway.namespace.libraries.library import Library


class Wrapt(Library):
    """Its wrappers are no functions, so the function inside tells whose code a wrapper is."""

    name = "wrapt"
    otherwise = (
        "a patch that a site makes with it is seen by all sites and keeps the site in memory"
    )

    def imported(self, modules: Mapping[str, ModuleType]) -> None:
        """Look whether its wrappers still have what `function_of` asks for.

        Raises ``AttributeError`` if they do not.
        """
        if (module := modules.get(self.name)) is not None:
            _ = module.FunctionWrapper._self_wrapper

    def function_of(self, wrapper: object) -> object | None:
        """The function that has been given to ``wrapt.FunctionWrapper``.

        The type is asked, since a wrapper answers to the names of what it wraps.
        """
        value: Any = wrapper
        return value._self_wrapper if hasattr(type(value), "_self_wrapper") else None
