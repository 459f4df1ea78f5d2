"""What a library may need from the namespaces that share it."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import ClassVar

from gateway.namespace import callers


class Library:
    """The rules for one third-party library; a subclass overrides what its library needs.

    A method may raise any ``Exception``, for example because a release of the library has renamed
    a private attribute. The site then goes on without what the method does, see `libraries`. So a
    method looks for everything that it needs before it changes anything.
    """

    name: ClassVar[str]
    """The top-level name of its module."""
    otherwise: ClassVar[str] = ""
    """What happens if a method cannot do its work, for the log."""
    private: ClassVar[bool] = False
    """Each site has its own copy of the library and of all that requires it, native or not.

    For such a library ``name`` is the name of its distribution as well."""
    confined_at_once: ClassVar[frozenset[str]] = frozenset()
    """Modules of the standard library that it patches. A patch of these is confined when it is
    made, not when the load of the site ends. They are slower to read, so it must not be a module
    whose functions are called all the time."""

    def imported(self, modules: Mapping[str, ModuleType]) -> None:
        """Prepare a unit of the library, which sites share from now on.

        It is called after each import of a module of the unit. ``modules`` are all modules of the
        unit that have been imported completely.
        """

    def released(self, domain: callers.Domain) -> None:
        """Forget what a generation has put into the library. It is called at its unload."""

    def function_of(self, wrapper: object) -> object | None:
        """The function that a wrapper of the library calls; ``None`` for any other object."""
