"""Findings on how a site would answer its visitors."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Final

from gateway.checks.facts import Database, Project
from gateway.checks.findings import Finding, Level, listed
from gateway.config import SiteConfig

ANY_OTHER_HOST: Final = "gateway-check.invalid"
"""A host to ask a default site about: such a site gets requests for hosts that nobody listed."""
_MADE_UP_LABEL: Final = "gateway-check"


def tried(host: str) -> str:
    """Return a host that a visitor may ask for, where ``sites.json`` says ``host``."""
    return host.replace("*", _MADE_UP_LABEL, 1) if host.startswith("*.") else host


def findings(site: SiteConfig, project: Project) -> Iterator[Finding]:
    """Yield what is wrong for visitors with the settings and databases of the site."""
    yield from _hosts(site, project)
    if project.debug:
        yield Finding(
            Level.WARNING,
            "debug",
            "DEBUG is on: error pages show code and settings to everybody, and memory grows with "
            "every query",
            "set DEBUG = False for a site that others can reach",
        )
    for database in project.databases:
        yield from _database(site, database)
    for problem in project.problems:
        yield Finding(
            Level.WARNING,
            "unanswered",
            f"could not be asked about {problem}",
            f"try it with the site's environment: {_manage(site, 'check')}",
        )


def _hosts(site: SiteConfig, project: Project) -> Iterator[Finding]:
    refused = [host for host in site.hosts if tried(host) in project.refused]
    if refused:
        wanted = ", ".join(json.dumps(host.removeprefix("*")) for host in refused)
        yield Finding(
            Level.FAULT,
            "hosts",
            f"ALLOWED_HOSTS does not let in {listed(refused)}: Django answers 400 there",
            f"add {wanted} to ALLOWED_HOSTS",
        )
    if ANY_OTHER_HOST in project.refused:
        yield Finding(
            Level.NOTE,
            "hosts",
            "it is the default site, and ALLOWED_HOSTS does not let in any host: Django answers "
            "400 on those it does not name",
            'leave out "default_site" if that is not wanted: the others then get a 404 page',
        )


def _database(site: SiteConfig, database: Database) -> Iterator[Finding]:
    which = "" if database.alias == "default" else f" --database={shlex.quote(database.alias)}"
    migrate = _manage(site, "migrate" + which)
    name = f'the database "{database.alias}"'
    if database.missing:
        yield Finding(
            Level.WARNING, "database", f"{name} does not exist yet: {database.missing}", migrate
        )
    elif database.error is not None:
        yield Finding(
            Level.WARNING,
            "database",
            f"{name} cannot be asked for its migrations: {database.error}",
            "is it up, and can this machine and user reach it? Compare DATABASES in the settings",
        )
    elif database.pending:
        count = len(database.pending)
        noun = "migration has" if count == 1 else "migrations have"
        yield Finding(
            Level.WARNING,
            "migrations",
            f"{count} {noun} not been applied to {name}: {listed(database.pending)}",
            migrate,
        )


def _manage(site: SiteConfig, command: str) -> str:
    """Return a command line for the project's own ``manage.py``."""
    python = "python" if site.venv is None else shlex.quote(str(site.venv / "bin" / "python"))
    return f"cd {shlex.quote(str(site.path))} && {python} manage.py {command}"
