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
        """Where the copy is kept, whether there is one or not."""
        return self._folder.path_of(self._name)

    def read(self) -> bytes | None:
        """The copy, ``None`` if there is none."""
        self._take_over()
        return self._folder.read(self._name, LARGEST)

    def save(self, text: bytes) -> None:
        """Keep ``text`` (``Config.text``), for its owner only, as a whole or not at all.

        If it fails, for example on a full disk, the copy from before stays.
        """
        self._take_over()
        self._folder.replace(self._name, text)

    def _take_over(self) -> None:
        """Give the copy of an earlier version its name: it was one for all gateways of a folder.

        Whose it is tell the stores: it is ours if no other gateway has ever been here.
        """
        names = self._folder.names()
        stores = {name for name in names if is_store_name(name)}
        if _OLD_NAME in names and stores == {store_name(self._sites)}:
            self._folder.rename(_OLD_NAME, self._name)
