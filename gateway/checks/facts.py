"""What goes to the scratch process of a check, and what comes back. Plain values, no judgement.

Both travel as JSON in ASCII: texts of a site may hold what no encoding has (surrogate escapes).
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
"""How long these stages may take; for loading, the request says it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the scratch process is to do.

    ``hosts`` are those that Django is asked about; ``limit`` is the number of seconds that loading
    may take. It travels by a pipe: an environment holds secrets, and everybody can see the
    arguments of a process.
    """

    site: SiteConfig
    hosts: tuple[str, ...]
    limit: float

    def encode(self) -> bytes:
        """As JSON."""
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
        """What ``encode`` made."""
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
    """Migrations that have not been applied (``app.name``); ``None`` if that cannot be told."""
    error: str | None = None
    """Why that cannot be told: the database is down, slow or not there."""
    missing: str | None = None
    """The SQLite file that does not exist yet."""


@dataclass(frozen=True, slots=True)
class Project:
    """What the Django of a site says. What could not be asked is ``None``."""

    settings: str | None = None
    """The name of the settings module."""
    debug: bool | None = None
    time_zone: str | None = None
    use_tz: bool | None = None
    refused: tuple[str, ...] = ()
    """Those of the request's hosts that ``ALLOWED_HOSTS`` does not let in."""
    databases: tuple[Database, ...] = ()
    problems: tuple[str, ...] = ()
    """What went wrong when it was asked."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of the environment layer (``gateway.namespace.environment``) that a site can use."""

    label: str
    key: str
    packages: Mapping[str, str]
    """Version by name."""
    versions: Mapping[str, str]
    """The same, with all that they require."""
    files: tuple[str, ...]
    """Its extension modules; the same file has the same name here in whatever environment."""
    loaded: bool
    """Whether loading the site and asking its databases loaded it, too. Other code may later."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Something of the shared standard library that is no longer what it was."""

    target: str
    by: str
    """The module with the code that has taken its place."""
    confined: bool
    """Whether the namespace keeps the replacement to its site (``gateway.namespace.patches``)."""


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread that the code of a site started while it was loaded."""

    name: str
    survives: bool | None = None
    """Whether it goes on when the site has been unloaded; ``None`` if it did not come to that."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a site; complete when ``stage`` is ``done``."""

    stage: Stage
    python: str
    loaded: bool | None = None
    """``None`` while it is not decided."""
    reason: str = ""
    """Why it did not load, in one line, not masked."""
    traceback: str = ""
    """The same at length, not masked."""
    seconds: float | None = None
    django: str | None = None
    project: Project | None = None
    units: tuple[Unit, ...] = ()
    needing_django: tuple[str, ...] = ()
    """Loaded distributions with extension modules that require Django (``name version``)."""
    signals: Mapping[str, bool] | None = None
    """The signals that the site wants to handle; true if by a function of its own."""
    patches: tuple[Patch, ...] = ()
    changed: Mapping[str, str] | None = None
    """Settings of the process that loading the site changed, and how (``30 to 90``)."""
    locales: Mapping[str, str] | None = None
    """Locales that the site has asked for by ``locale.setlocale``, in vain."""
    threads: tuple[Thread, ...] = ()
    process_zone: str = ""
    """The time zone of the process, as its users would call it."""
    other_zone: bool = False
    """Whether clocks of the site's ``TIME_ZONE`` ever differ from those of the process."""
    private_folder: bool = True
    """Whether a thread can have a working directory of its own here."""
    exit_hangs: bool = False

    def encode(self) -> bytes:
        """As one line of JSON."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Facts:
        """What ``encode`` made."""
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
