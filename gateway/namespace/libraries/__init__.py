"""Rules for third-party libraries, a file for each library, found by the name of its module.

The rest of the namespaces' code names no library. A library that is not in the table has no rules.

A rule never stops a site: what it raises is caught here, and one warning in the log names the
library, its version and what is not done.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Final

from gateway.errors import reason_of
from gateway.namespace import callers
from gateway.namespace.libraries.django import Django
from gateway.namespace.libraries.library import Library
from gateway.namespace.libraries.lxml import Lxml
from gateway.namespace.libraries.psycopg import Psycopg
from gateway.namespace.libraries.psycopg2 import Psycopg2
from gateway.namespace.libraries.typing_extensions import TypingExtensions
from gateway.namespace.libraries.wrapt import Wrapt

TABLE: Final[Mapping[str, Library]] = {
    library.name: library
    for library in (Django(), Lxml(), Psycopg(), Psycopg2(), TypingExtensions(), Wrapt())
}
"""The libraries that have rules, by the top-level names of their modules."""

PRIVATE: Final = frozenset(name for name, library in TABLE.items() if library.private)
"""The libraries of which each site has its own copy."""
CONFINED_AT_ONCE: Final = frozenset(
    module for library in TABLE.values() for module in library.confined_at_once
)
"""The modules of the standard library whose patches are confined when they are made."""

_WRAPPING: Final = tuple(
    library for library in TABLE.values() if type(library).function_of is not Library.function_of
)
_STAYS: Final = "what an unloaded generation has put into it stays in memory"

_logger = logging.getLogger(__name__)
_versions: dict[str, dict[str, None]] = {name: {} for name in TABLE}
"""The units that have been imported, by library, each as people know it (``name version``)."""
_said: set[str] = set()


def imported(library: Library, modules: Mapping[str, ModuleType], label: str) -> None:
    """Tell ``library`` that modules of a unit with it have been imported.

    ``label`` names the distributions of the unit and their versions.
    """
    with _going_on(library, library.otherwise, label):
        _versions[library.name][label] = None
        library.imported(modules)


def release(domain: callers.Domain) -> None:
    """Forget what ``domain`` has put into any library."""
    for library in TABLE.values():
        with _going_on(library, _STAYS):
            library.released(domain)


def function_of(wrapper: object) -> object | None:
    """The function that a wrapper of some library calls; ``None`` for any other object."""
    for library in _WRAPPING:
        with _going_on(library, library.otherwise):
            if (function := library.function_of(wrapper)) is not None:
                return function
    return None


@contextlib.contextmanager
def _going_on(library: Library, otherwise: str, label: str = "") -> Iterator[None]:
    """Say in the log, once for each version, if the block raises, and go on."""
    try:
        yield
    except Exception as exc:
        label = label or " or ".join(_versions[library.name]) or library.name
        if (message := f"{label} is not as expected: {otherwise}") not in _said:
            _said.add(message)
            # The log belongs to the process, whichever site imports something here.
            callers.for_process(_logger.warning, "%s (%s)", message, reason_of(exc))
