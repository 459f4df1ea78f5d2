"""The meaning of a ``sites.json``: frozen, complete and checked values for the other rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from gateway.config.limits import DEFAULTS, Limits
from gateway.errors import Fault


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """One site, with all defaults filled in and everything looked up.

    Two of them are equal exactly if nothing about the site differs, not even the contents of its
    ``env_file``. A reload compares them.
    """

    name: str
    hosts: tuple[str, ...]
    """In the normal form of ``gateway.config.hosts``, in the order of the file."""
    path: Path
    """The folder of the project: absolute, symbolic links *not* resolved."""
    wsgi: str
    """``module:attribute``."""
    env: Mapping[str, str] = field(repr=False, hash=False)
    """The complete environment that the site sees. Its values may be secrets."""
    env_file: Path | None = None
    venv: Path | None = None
    preload: bool = False
    watch: bool = False
    """True if the site is reloaded when its code changes."""
    probe: str | None = "/"
    """The path that a reload requests from new code before it serves; ``None`` for no probe."""
    probe_host: str | None = None
    """The host of that request, in normal form. ``None`` stands for the first of the hosts."""
    migrations: Literal["ignore", "warn", "require"] = "ignore"
    """The reaction to migrations that have not been applied."""
    limits: Limits = DEFAULTS


@dataclass(frozen=True, slots=True)
class FaultySite:
    """A site that cannot be served because of its faults, with the hosts that belong to it."""

    name: str
    hosts: tuple[str, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """A whole ``sites.json``. ``faults`` and ``faulty`` are empty unless it was read leniently."""

    sites: Mapping[str, SiteConfig]
    """By name, in the order of the file."""
    default_site: str | None
    """A key of ``sites`` or ``faulty``."""
    source: Path
    """The file that was read: absolute, symbolic links *not* resolved."""
    watched: frozenset[Path]
    """The files whose change can change the configuration, existing or not."""
    text: bytes = field(repr=False)
    """The bytes that were read, for `LastGood`. They may hold secrets."""
    faults: tuple[Fault, ...] = ()
    """All faults, with those of ``faulty``."""
    faulty: Mapping[str, FaultySite] = field(default_factory=lambda: MappingProxyType({}))
