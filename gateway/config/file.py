"""The file ``sites.json``, together with its last good copy in the state folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path

from gateway.config import Config, LastGood, Memory, read_config_leniently
from gateway.disk.statefolder import StateFolder
from gateway.disk.trustedfolder import StateError
from gateway.errors import ConfigError, Fault

logger = logging.getLogger("gateway.config")


class SitesFile:
    """Reader of ``sites.json``, which keeps a copy of the file whenever it has no fault.

    Its methods block, and only one thread at a time may call them.
    """

    def __init__(self, source: Path, state_dir: Path, admin_hosts: Collection[str]) -> None:
        self._source = source.absolute()
        self._copy = LastGood(StateFolder(state_dir), self._source)
        self._admin_hosts = admin_hosts
        self._memory = Memory()
        self._kept: bytes | None = None

    def read(self, names: Collection[str] = ()) -> Config:
        """Read leniently, for the sake of some sites or all; ``Config.faults`` has every fault.

        With ``names``, only the files of these sites are looked at, as `read_config` says. Raises
        `ConfigError` if nothing in the file can be used.
        """
        config = self._read_leniently(names=names)
        if not config.faults:
            self._keep(config)
        return config

    def read_at_start(self) -> tuple[Config, tuple[Fault, ...]]:
        """Return as much of the file as can be used, and all its faults.

        A faulty site does not affect the others. If nothing in the file can be used, the last good
        copy is used instead. Raises `ConfigError` if there is no copy either.
        """
        try:
            config = self.read()
        except ConfigError as error:
            return self._last_good(error), error.faults
        return config, config.faults

    def _last_good(self, error: ConfigError) -> Config:
        try:
            text = self._copy.read()
            if text is None:
                raise error
            config = self._read_leniently(text)
        except StateError as untrusted:
            logger.warning("no copy of %s can be used: %s", self._source, untrusted)
            raise error from None
        except ConfigError:
            raise error from None
        logger.warning(
            "%s CANNOT BE USED; serving the last good copy of it, %s",
            self._source,
            self._copy.path,
        )
        return config

    def _read_leniently(self, text: bytes | None = None, names: Collection[str] = ()) -> Config:
        return read_config_leniently(
            self._source,
            environ=os.environ,
            admin_hosts=self._admin_hosts,
            text=text,
            memory=self._memory,
            names=names,
        )

    def _keep(self, config: Config) -> None:
        try:
            if config.text == self._kept and os.path.exists(self._copy.path):
                return
            self._copy.save(config.text)
            self._kept = config.text
        except StateError as error:
            # A full disk must not end the service, nor make a good file refused.
            logger.warning("no copy of %s was kept: %s", self._source, error)
