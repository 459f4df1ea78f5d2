"""What a ``sites.json`` means: frozen values, complete and checked, for the rest of the gateway."""

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
    """One site, with nothing left to default or to look up.

    Two of them are equal exactly if nothing about the site has changed, the contents of its
    ``env_file`` included: a reload compares them.
    """

    name: str
    hosts: tuple[str, ...]
    """In the normal form of ``gateway.config.hosts``, in the order of the file."""
    path: Path
    """The folder of the project: absolute, symbolic links *not* resolved."""
    wsgi: str
    """``module:attribute``."""
    env: Mapping[str, str] = field(repr=False, hash=False)
    """The whole environment that the site sees. Its values may be secrets."""
    env_file: Path | None = None
    venv: Path | None = None
    preload: bool = False
    watch: bool = False
    """Whether the site is reloaded when its code changes."""
    probe: str | None = "/"
    """The path that a reload asks of new code; ``None`` for no probe."""
    probe_host: str | None = None
    """In normal form. ``None``: the first of the hosts."""
    migrations: Literal["ignore", "warn", "require"] = "ignore"
    """What to do about migrations that have not been applied."""
    limits: Limits = DEFAULTS


@dataclass(frozen=True, slots=True)
class FaultySite:
    """A site that cannot be served, with the hosts that are its own all the same."""

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
    """The files whose change can change the configuration, whether they exist or not."""
    text: bytes = field(repr=False)
    """The very bytes that were read, for `LastGood`. They may hold secrets."""
    faults: tuple[Fault, ...] = ()
    """All of them, also those of ``faulty``."""
    faulty: Mapping[str, FaultySite] = field(default_factory=lambda: MappingProxyType({}))
