"""lxml, of which two versions use the same names for what they keep for each thread."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from gateway.namespace import threadstate
from gateway.namespace.libraries.library import Library


class Lxml(Library):
    """It puts a log of errors and a dictionary of names into what ``PyThreadState_GetDict`` gives.

    A version that finds the objects of another version there raises ``TypeError`` ("Cannot convert
    lxml.etree._RotatingErrorLog …"). Once two versions are loaded, a thread that works for several
    sites exchanges these objects when it turns to another site.
    """

    name = "lxml"
    otherwise = "a thread that works for sites with two versions of it fails in one of them"

    def __init__(self) -> None:
        self._versions: set[ModuleType] = set()

    def imported(self, modules: Mapping[str, ModuleType]) -> None:
        """Have threads exchange its objects as soon as there are two versions.

        They do so until the process ends, as units stay.
        """
        if (etree := modules.get("lxml.etree")) is not None:
            self._versions.add(etree)
            if len(self._versions) > 1:
                threadstate.exchange("lxml.")
