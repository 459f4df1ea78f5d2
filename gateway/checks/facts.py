"""The request to the scratch process of a check, and the facts that come back.

Both are plain values, without judgement. They are sent as JSON in ASCII, because texts of a site
may hold characters that no encoding has (surrogate escapes).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from gateway.config import SiteConfig

Stage = Literal["starting", "loading", "asking", "unloading", "done"]

ASKING_SECONDS: Final = 20.0
UNLOADING_SECONDS: Final = 10.0
"""Seconds that these two stages may take. `Request.limit` has those for loading."""


@dataclass(frozen=True, slots=True)
class Request:
    """The task of the scratch process.

    ``hosts`` are the hosts that Django is asked about. ``limit`` is the number of seconds that
    loading may take. The request is sent through a pipe, because the environment in it holds
    secrets, and everybody can see the arguments of a process.
    """

    site: SiteConfig
    hosts: tuple[str, ...]
    limit: float

    def encode(self) -> bytes:
        """Return the request as JSON."""
        site = {
            "name": self.site.name,
            "hosts": self.site.hosts,
            "path": str(self.site.path),
            "wsgi": self.site.wsgi,
            "env": dict(self.site.env),
            "venv": None if self.site.venv is None else str(self.site.venv),
        }
        return json.dumps({"site": site, "hosts": self.hosts, "limit": self.limit}).encode("ascii")

    @classmethod
    def decode(cls, text: bytes) -> Request:
        """Return the request that ``encode`` turned into ``text``."""
        values = json.loads(text)
        site = values["site"]
        config = SiteConfig(
            name=site["name"],
            hosts=tuple(site["hosts"]),
            path=Path(site["path"]),
            wsgi=site["wsgi"],
            env=site["env"],
            venv=None if site["venv"] is None else Path(site["venv"]),
        )
        return cls(config, tuple(values["hosts"]), values["limit"])


@dataclass(frozen=True, slots=True)
class Database:
    """One of the databases of a site."""

    alias: str
    vendor: str
    pending: tuple[str, ...] | None
    """Migrations that have not been applied (``app.name``); ``None`` if this is not known."""
    error: str | None = None
    """The reason why this is not known: the database is down, slow or not there."""
    missing: str | None = None
    """The path of the SQLite file, if the file does not exist yet."""


@dataclass(frozen=True, slots=True)
class Project:
    """The answers of a site's Django. An answer that could not be had is ``None``."""

    settings: str | None = None
    """The name of the settings module."""
    debug: bool | None = None
    time_zone: str | None = None
    use_tz: bool | None = None
    refused: tuple[str, ...] = ()
    """The hosts of the request that ``ALLOWED_HOSTS`` does not let in."""
    databases: tuple[Database, ...] = ()
    problems: tuple[str, ...] = ()
    """The questions that could not be answered, each with the reason."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of the environment layer (``gateway.namespace.environment``) that a site can use."""

    label: str
    key: str
    packages: Mapping[str, str]
    """The versions of its distributions by name."""
    versions: Mapping[str, str]
    """The versions of its distributions and of all distributions that they require, by name."""
    files: tuple[str, ...]
    """Its extension modules, as device and inode. So a file has one name in all environments."""
    loaded: bool
    """True if loading the site and asking its databases loaded the unit. Requests may load it
    later."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A function or class of the shared standard library that a site has replaced."""

    target: str
    by: str
    """The module that the replacement was written in."""
    confined: bool
    """True if the replacement counts for its site alone (``gateway.namespace.patches``)."""


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread that the code of a site started while it was loaded."""

    name: str
    survives: bool | None = None
    """True if it continues after the unload of the site; ``None`` if there was no unload."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a site. It is complete when ``stage`` is ``done``."""

    stage: Stage
    python: str
    loaded: bool | None = None
    """True if the site loads; ``None`` while this is not decided."""
    reason: str = ""
    """The reason why it did not load, in one line, not masked."""
    traceback: str = ""
    """The reason in full, not masked."""
    seconds: float | None = None
    django: str | None = None
    project: Project | None = None
    units: tuple[Unit, ...] = ()
    needing_django: tuple[str, ...] = ()
    """Loaded distributions with extension modules that require Django (``name version``)."""
    signals: Mapping[str, bool] | None = None
    """The signals that the site has set a handler for; true if that is a function of its own."""
    patches: tuple[Patch, ...] = ()
    changed: Mapping[str, str] | None = None
    """Settings of the process that loading the site changed, and how (``30 to 90``)."""
    locales: Mapping[str, str] | None = None
    """Locales that the site has asked for by ``locale.setlocale`` but does not get, by category."""
    threads: tuple[Thread, ...] = ()
    process_zone: str = ""
    """The time zone of the process, in the words of its users."""
    other_zone: bool = False
    """True if clocks in the site's ``TIME_ZONE`` ever differ from the clock of the process."""
    private_folder: bool = True
    """True if a thread can have a working directory of its own on this system."""
    exit_hangs: bool = False

    def encode(self) -> bytes:
        """Return the facts as one line of JSON."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Facts:
        """Return the facts that ``encode`` turned into ``line``."""
        values: dict[str, Any] = json.loads(line)
        project = values["project"]
        if project is not None:
            project["databases"] = tuple(
                Database(**{**item, "pending": _tuple(item["pending"])})
                for item in project["databases"]
            )
            for key in ("refused", "problems"):
                project[key] = tuple(project[key])
            values["project"] = Project(**project)
        for key, kind in (("units", Unit), ("patches", Patch), ("threads", Thread)):
            values[key] = tuple(kind(**item) for item in values[key])
        values["needing_django"] = tuple(values["needing_django"])
        return cls(**values)


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
