"""Ask the Django of a loaded site about its settings and databases, in the scratch process.

Nothing here writes to a database. A database that is down makes the check neither fail nor wait for
long.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Any, Final

from gateway.checks.facts import Database, Project
from gateway.django import connections, facts, migrations
from gateway.errors import reason_of
from gateway.namespace import Namespace

CONNECT_SECONDS: Final = 3
"""Seconds that a database may take to accept a connection, if its driver has such a limit."""
DATABASE_SECONDS: Final = 8
"""Seconds that all databases together may take to answer, whatever the reason for a delay."""


def ask(namespace: Namespace, hosts: Iterable[str], threads: Executor) -> Project | None:
    """Ask the Django of the site for its settings and databases, on ``threads``.

    ``None`` for a site that does not use Django. An answer that raises is a problem of the project.
    """
    settings = facts.settings(namespace)
    if settings is None:
        return None
    problems: list[str] = []

    def answer(what: str, question: Callable[..., Any], *args: Any) -> Any:
        try:
            return threads.submit(question, *args).result()
        except BaseException as exc:  # the code of the site may raise anything
            problems.append(f"{what}: {reason_of(exc)}")
            return None

    refused = answer("ALLOWED_HOSTS", facts.refused_hosts, namespace, settings, tuple(hosts))
    databases = answer("the databases", connections.aliases, namespace)
    return Project(
        settings=answer("the settings module", facts.settings_module, settings),
        debug=answer("DEBUG", lambda: bool(settings.DEBUG)),
        time_zone=answer("TIME_ZONE", lambda: settings.TIME_ZONE and str(settings.TIME_ZONE)),
        use_tz=answer("USE_TZ", lambda: bool(settings.USE_TZ)),
        refused=refused or (),
        databases=_ask_databases(namespace, databases or (), threads),
        problems=tuple(problems),
    )


def _ask_databases(
    namespace: Namespace, aliases: Iterable[str], threads: Executor
) -> tuple[Database, ...]:
    """Ask all databases at the same time, so that it takes only as long as the slowest answer."""
    asked = {alias: threads.submit(_ask_database, namespace, alias) for alias in aliases}
    end = time.monotonic() + DATABASE_SECONDS
    answers = (_answer(alias, future, end) for alias, future in asked.items())
    return tuple(answer for answer in answers if answer.vendor != connections.NO_DATABASE)


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
    connection = connections.connection_to(namespace, alias)
    answer = functools.partial(Database, alias, connection.vendor)
    if connection.vendor == connections.NO_DATABASE:
        return answer(None)
    if missing := connections.missing_file(connection):
        # Connecting would make an empty file.
        return answer(None, missing=missing)
    connections.limit_waiting(connection, CONNECT_SECONDS)
    try:
        return answer(migrations.pending(namespace, connection))
    except BaseException as exc:
        return answer(None, reason_of(exc))
    finally:
        connection.close()
