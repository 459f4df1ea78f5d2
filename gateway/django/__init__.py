"""What the gateway knows of Django: everything here works on the Django of a namespace.

The gateway itself never imports Django.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

from gateway.errors import listed, reason_of
from gateway.namespace import Namespace
from gateway.sites.sources import Tree

NO_DATABASE: Final = "unknown"
"""The vendor of ``django.db.backends.dummy``: a project without a database."""
_SHOWN: Final = 5
_TEMPLATES: Final = frozenset(
    {
        ".css", ".csv", ".djhtml", ".dtl", ".eml", ".htm", ".html", ".ics", ".j2", ".jinja",
        ".jinja2", ".js", ".json", ".md", ".mjml", ".rst", ".svg", ".tex", ".tmpl", ".tpl", ".txt",
        ".xhtml", ".xml",
    }
)  # fmt: skip
"""What templates end in. Databases, logs and uploads may lie in the same folder."""


def import_urls(namespace: Namespace) -> None:
    """Import the URLconf, which Django would do at the first request.

    So an error in it shows when the site is loaded, and the first visitor does not wait for it.
    Does nothing for a site without Django.
    """
    if _module(namespace, "django.conf") is None:
        return
    conf = namespace.import_module("django.conf")
    if conf.settings.configured and getattr(conf.settings, "ROOT_URLCONF", None):
        _ = namespace.import_module("django.urls").get_resolver().url_patterns


def templates(namespace: Namespace) -> list[Tree]:
    """The folders that the templates of the site come from, but for those of installed packages.

    Files that the site itself writes there are left out: uploads, collected files, logs.
    """
    if _module(namespace, "django.conf") is None:
        return []
    settings: Any = namespace.import_module("django.conf").settings
    if not settings.configured:
        return []
    folders: set[str] = set()
    with contextlib.suppress(Exception):  # of an engine that lacks something: shows when it is used
        for backend in namespace.import_module("django.template").engines.all():
            folders.update(os.path.abspath(folder) for folder in backend.template_dirs)
            for loader in getattr(getattr(backend, "engine", None), "template_loaders", ()):
                if hasattr(loader, "get_dirs"):
                    folders.update(os.path.abspath(folder) for folder in loader.get_dirs())
    written = {
        os.path.abspath(root) for root in (settings.MEDIA_ROOT, settings.STATIC_ROOT) if root
    }
    for reference in namespace.import_module("logging")._handlerList:
        if path := getattr(reference(), "baseFilename", None):
            written.add(path)
    return [
        Tree(folder, _TEMPLATES, frozenset(written))
        for folder in sorted(folders)
        if not namespace.is_installed(folder)
    ]


def close_connections(namespace: Namespace) -> None:
    """Close the database connections of the calling thread."""
    db = _module(namespace, "django.db")
    if db is not None:
        db.connections.close_all()


def take_connections(namespace: Namespace) -> dict[str, Any]:
    """Take the open database connections of the calling thread from it, by alias.

    They belong to a response that leaves the thread for a while, with its cursors and transaction;
    what the thread does meanwhile must neither use nor close them.
    """
    db = _module(namespace, "django.db")
    if db is None:
        return {}
    taken = {each.alias: each for each in db.connections.all(initialized_only=True)}
    for alias in taken:
        del db.connections[alias]
    return taken


def put_connections(namespace: Namespace, taken: dict[str, Any]) -> None:
    """Give to the calling thread what `take_connections` took from it."""
    for alias, connection in taken.items():
        namespace.modules["django.db"].connections[alias] = connection


def close_pools(namespace: Namespace) -> None:
    """Close the connection pools of the process, which ``close_all`` leaves open (Django 5.1)."""
    db = _module(namespace, "django.db")
    if db is not None:
        for connection in db.connections.all():
            if hasattr(connection, "close_pool"):
                connection.close_pool()


def pending_migrations(namespace: Namespace, connection: Any) -> tuple[str, ...] | None:
    """The migrations that ``manage.py migrate`` would apply (``app.name``).

    ``None`` for a further database that Django has never migrated: an old one that is only read.
    """
    executor_module: Any = namespace.import_module("django.db.migrations.executor")
    executor = executor_module.MigrationExecutor(connection)
    if connection.alias != "default" and not executor.recorder.has_table():
        return None
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return tuple(f"{migration.app_label}.{migration.name}" for migration, _ in plan)


def missing_file(connection: Any) -> str | None:
    """The SQLite file that does not exist yet: connecting would make an empty one."""
    if connection.vendor != "sqlite" or connection.is_in_memory_db():
        return None
    name = os.fspath(connection.settings_dict["NAME"])
    return None if name.startswith("file:") or os.path.exists(name) else name


def migration_faults(namespace: Namespace) -> list[str]:
    """What keeps the code from fitting its databases, a line for each of these.

    Asked are the databases that the migrations of the site belong to, by its routers.
    """
    if _module(namespace, "django.db") is None:
        return []
    faults = []
    for connection in _migrated(namespace):
        name = f"the database {connection.alias!r}"
        try:
            if missing := missing_file(connection):
                faults.append(f"{name} does not exist yet ({missing})")
            elif pending := pending_migrations(namespace, connection):
                faults.append(f"{name} lacks migrations: {listed(pending, _SHOWN)}")
        except Exception as exc:
            faults.append(f"{name} cannot be asked for its migrations: {reason_of(exc)}")
    return faults


def _migrated(namespace: Namespace) -> Iterator[Any]:
    """The connections of the calling thread to the databases that migrations belong to."""
    db: Any = namespace.import_module("django.db")
    models = namespace.import_module("django.apps").apps.get_models()
    for alias in db.connections:
        if db.router.routers:
            belongs = any(db.router.allow_migrate_model(alias, model) for model in models)
        else:
            belongs = alias == "default"  # who has no router names others query by query
        if belongs and db.connections[alias].vendor != NO_DATABASE:
            yield db.connections[alias]


def _module(namespace: Namespace, name: str) -> ModuleType | None:
    """A module of the namespace if it has been imported; a site need not use Django."""
    return namespace.modules.get(name)
