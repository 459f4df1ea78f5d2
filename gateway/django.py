"""What the gateway knows of Django: everything here works on the Django of a namespace.

The gateway itself never imports Django.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from gateway.namespace import Namespace


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


def _module(namespace: Namespace, name: str) -> ModuleType | None:
    """A module of the namespace if it has been imported; a site need not use Django."""
    return namespace.modules.get(name)
