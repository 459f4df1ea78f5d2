"""Ask the Django of a loaded site about its settings and databases, in the scratch process.

Nothing here writes to a database. A database that is down makes the check neither fail nor wait for
long.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Final

from gateway import django
from gateway.checks.facts import Database, Project
from gateway.errors import reason_of
from gateway.execution.pool import Threads
from gateway.namespace import Namespace

CONNECT_SECONDS: Final = 3
"""Seconds that a database may take to accept a connection, if its driver has such a limit."""
DATABASE_SECONDS: Final = 8
"""Seconds that all databases together may take to answer, whatever the reason for a delay."""

_OPTIONS: Final = {
    "postgresql": {"connect_timeout": CONNECT_SECONDS},
    "mysql": {"connect_timeout": CONNECT_SECONDS},
    "sqlite": {"timeout": CONNECT_SECONDS},
}
_LOCAL_HOSTS: Final = (".localhost", "127.0.0.1", "[::1]")


def ask(namespace: Namespace, hosts: Iterable[str], threads: Threads) -> Project | None:
    """Return what the site's Django says of itself; ``None`` if the site does not use Django."""
    if "django.conf" not in namespace.modules:
        return None
    conf: Any = namespace.import_module("django.conf")
    if not conf.settings.configured:
        return None
    problems: list[str] = []

    def answer(what: str, question: Callable[..., Any], *args: Any) -> Any:
        try:
            return threads.submit(question, *args).result()
        except BaseException as exc:  # the code of the site may raise anything
            problems.append(f"{what}: {reason_of(exc)}")
            return None

    settings = conf.settings
    refused = answer("ALLOWED_HOSTS", _refused, namespace, settings, tuple(hosts))
    databases = answer("the databases", _aliases, namespace)
    return Project(
        settings=answer("the settings module", _settings_module, settings),
        debug=answer("DEBUG", lambda: bool(settings.DEBUG)),
        time_zone=answer("TIME_ZONE", lambda: settings.TIME_ZONE and str(settings.TIME_ZONE)),
        use_tz=answer("USE_TZ", lambda: bool(settings.USE_TZ)),
        refused=refused or (),
        databases=_ask_databases(namespace, databases or (), threads),
        problems=tuple(problems),
    )


def _settings_module(settings: Any) -> str | None:
    name = getattr(settings, "SETTINGS_MODULE", None)  # settings.configure() has none
    return name if isinstance(name, str) else None


def _refused(namespace: Namespace, settings: Any, hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the hosts that ``HttpRequest.get_host`` would refuse."""
    http: Any = namespace.import_module("django.http.request")
    allowed = list(settings.ALLOWED_HOSTS)
    if settings.DEBUG and not allowed:
        allowed = list(_LOCAL_HOSTS)
    domains = {host: http.split_domain_port(host)[0] for host in hosts}
    return tuple(h for h, domain in domains.items() if not http.validate_host(domain, allowed))


def _aliases(namespace: Namespace) -> tuple[str, ...]:
    if "django.db" not in namespace.modules:
        return ()
    db: Any = namespace.import_module("django.db")
    return tuple(db.connections)


def _ask_databases(
    namespace: Namespace, aliases: Iterable[str], threads: Threads
) -> tuple[Database, ...]:
    """Ask all databases at the same time, so that it takes only as long as the slowest answer."""
    asked = {alias: threads.submit(_ask_database, namespace, alias) for alias in aliases}
    end = time.monotonic() + DATABASE_SECONDS
    answers = (_answer(alias, future, end) for alias, future in asked.items())
    return tuple(answer for answer in answers if answer.vendor != django.NO_DATABASE)


def _answer(alias: str, future: Future[Database], end: float) -> Database:
    try:
        return future.result(max(0.0, end - time.monotonic()))
    except TimeoutError:
        reason = f"no answer within {DATABASE_SECONDS} seconds"
    except BaseException as exc:
        reason = reason_of(exc)
    return Database(alias, "", None, reason)


def _ask_database(namespace: Namespace, alias: str) -> Database:
    """Ask one database, on a thread of its own: Django has a connection for each thread."""
    db: Any = namespace.import_module("django.db")
    connection = db.connections[alias]
    answer = functools.partial(Database, alias, connection.vendor)
    if connection.vendor == django.NO_DATABASE:
        return answer(None)
    if missing := django.missing_file(connection):
        # Connecting would make an empty file.
        return answer(None, missing=missing)
    options = dict(connection.settings_dict.get("OPTIONS") or {})
    options.pop("pool", None)  # a pool would open connections of its own, and wait for them
    options.update(_OPTIONS.get(connection.vendor, {}))
    connection.settings_dict["OPTIONS"] = options
    try:
        return answer(django.pending_migrations(namespace, connection))
    except BaseException as exc:
        return answer(None, reason_of(exc))
    finally:
        connection.close()
