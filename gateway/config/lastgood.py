"""The last ``sites.json`` without faults, kept for a start that finds a broken one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.config.source import LARGEST
from gateway.disk.statefolder import StateFolder, is_store_name, last_good_name, store_name

_OLD_NAME: Final = "last-good-sites.json"


class LastGood:
    """The copy of one ``sites.json`` in the state folder. It may hold secrets.

    Both methods block, and raise `StateError`.
    """

    def __init__(self, folder: StateFolder, sites: Path) -> None:
        self._folder = folder
        self._sites = sites
        self._name = last_good_name(sites)

    @property
    def path(self) -> Path:
        """The path of the copy, whether it exists or not."""
        return self._folder.path_of(self._name)

    def read(self) -> bytes | None:
        """Return the copy, ``None`` if there is none."""
        self._take_over()
        return self._folder.read(self._name, LARGEST)

    def save(self, text: bytes) -> None:
        """Replace the copy by ``text`` (``Config.text``). Only its owner can read it.

        If that fails, for example on a full disk, the old copy stays as it is.
        """
        self._take_over()
        self._folder.replace(self._name, text)

    def _take_over(self) -> None:
        """Rename the copy of an earlier version, which had one copy for all gateways of a folder.

        That copy is ours if no other gateway has used the folder: then the only store is ours.
        """
        names = self._folder.names()
        stores = {name for name in names if is_store_name(name)}
        if _OLD_NAME in names and stores == {store_name(self._sites)}:
            self._folder.rename(_OLD_NAME, self._name)
