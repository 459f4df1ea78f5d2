"""The migrations of a site, and whether its databases have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from gateway.django import connections
from gateway.errors import listed, reason_of
from gateway.namespace import Namespace

_SHOWN: Final = 5


def pending(namespace: Namespace, connection: Any) -> tuple[str, ...] | None:
    """The migrations that ``manage.py migrate`` would apply (``app.name``).

    ``None`` for a further database that Django has never migrated: an old one that is only read.
    """
    executor_module: Any = namespace.import_module("django.db.migrations.executor")
    executor = executor_module.MigrationExecutor(connection)
    if connection.alias != "default" and not executor.recorder.has_table():
        return None
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return tuple(f"{migration.app_label}.{migration.name}" for migration, _ in plan)


def faults(namespace: Namespace) -> list[str]:
    """The reasons why the code does not fit its databases, a line for each.

    Those databases are asked that the migrations of the site belong to, by its routers. The list
    is empty for a site without ``django.db``.
    """
    if namespace.modules.get("django.db") is None:
        return []
    found = []
    for connection in _migrated(namespace):
        name = f"the database {connection.alias!r}"
        try:
            if missing := connections.missing_file(connection):
                found.append(f"{name} does not exist yet ({missing})")
            elif lacking := pending(namespace, connection):
                found.append(f"{name} lacks migrations: {listed(lacking, _SHOWN)}")
        except Exception as exc:
            found.append(f"{name} cannot be asked for its migrations: {reason_of(exc)}")
    return found


def _migrated(namespace: Namespace) -> Iterator[Any]:
    """The connections of the calling thread to the databases that migrations belong to."""
    db: Any = namespace.import_module("django.db")
    models = namespace.import_module("django.apps").apps.get_models()
    for alias in db.connections:
        if db.router.routers:
            belongs = any(db.router.allow_migrate_model(alias, model) for model in models)
        else:
            belongs = alias == "default"  # who has no router names others query by query
        if belongs and db.connections[alias].vendor != connections.NO_DATABASE:
            yield db.connections[alias]
