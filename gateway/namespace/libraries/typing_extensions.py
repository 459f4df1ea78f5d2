"""typing_extensions, of which every copy patches ``typing``."""

from __future__ import annotations

from gateway.namespace.libraries.library import Library


class TypingExtensions(Library):
    """Before Python 3.13 it replaces ``typing._collect_parameters`` and ``typing._check_generic``.

    No generic class can be defined without these functions. Those of one copy take type variables
    of another copy that have no default for type variables that have one. So a patch of ``typing``
    is confined when it is made, also a patch of the process.
    """

    name = "typing_extensions"
    confined_at_once = frozenset({"typing"})
