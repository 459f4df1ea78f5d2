"""The database connections of a site. Django has one for each database on each thread."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from typing import Any, Final

from gateway.namespace import Namespace

NO_DATABASE: Final = "unknown"
"""The vendor of ``django.db.backends.dummy``: a project without a database."""
_TIMEOUTS: Final = {
    "postgresql": "connect_timeout",
    "mysql": "connect_timeout",
    "sqlite": "timeout",
}
"""The name of the option for seconds, by vendor. For SQLite it bounds the wait for a lock."""


def aliases(namespace: Namespace) -> tuple[str, ...]:
    """The names of the databases of the site; none for a site that does not use ``django.db``."""
    db = _db(namespace)
    return () if db is None else tuple(db.connections)


def connection_to(namespace: Namespace, alias: str) -> Any:
    """The connection of the calling thread to a database, which need not be open."""
    db: Any = namespace.import_module("django.db")
    return db.connections[alias]


def missing_file(connection: Any) -> str | None:
    """The SQLite file that does not exist yet: connecting would make an empty one."""
    if connection.vendor != "sqlite" or connection.is_in_memory_db():
        return None
    name = os.fspath(connection.settings_dict["NAME"])
    return None if name.startswith("file:") or os.path.exists(name) else name


def limit_waiting(connection: Any, seconds: int) -> None:
    """Let ``connection`` wait only so long for its database, where its driver can be told.

    It leaves the connection pool out, which would open connections of its own and wait for them.
    """
    options = dict(connection.settings_dict.get("OPTIONS") or {})
    options.pop("pool", None)
    if option := _TIMEOUTS.get(connection.vendor):
        options[option] = seconds
    connection.settings_dict["OPTIONS"] = options


def close(namespace: Namespace) -> None:
    """Close the database connections of the calling thread."""
    db = _db(namespace)
    if db is not None:
        db.connections.close_all()


def close_of(namespace: Namespace, thread: int) -> None:
    """Close the database connections of another thread, which must not be using them.

    Those that cannot be found are closed when they leave the memory.
    """
    db = _db(namespace)
    if db is None:
        return
    for connection in _of_all_threads(db.connections):
        if connection._thread_ident == thread:
            connection.inc_thread_sharing()
            try:
                connection.close()
            finally:
                connection.dec_thread_sharing()


def _of_all_threads(handler: Any) -> Iterator[Any]:
    """Find the connections of a handler. It keeps those of each thread in a ``threading.local``.

    Only the garbage collector tells what such an object refers to for other threads.
    """
    storage = handler._connections
    storage = getattr(storage, "_storage", storage)
    if not isinstance(storage, threading.local):
        return
    dummies = [each for each in gc.get_referents(storage) if isinstance(each, dict)]
    for kept in (each for dummy in dummies for each in gc.get_referents(dummy)):
        if isinstance(kept, dict):
            yield from (each for each in tuple(kept.values()) if hasattr(each, "_thread_ident"))


def take(namespace: Namespace) -> dict[str, Any]:
    """Take the open database connections of the calling thread from it, by alias.

    They belong to a response that leaves the thread for a while, with its cursors and transaction;
    what the thread does meanwhile must neither use nor close them.
    """
    db = _db(namespace)
    if db is None:
        return {}
    taken = {each.alias: each for each in db.connections.all(initialized_only=True)}
    for alias in taken:
        del db.connections[alias]
    return taken


def put(namespace: Namespace, taken: dict[str, Any]) -> None:
    """Give to the calling thread what `take` took from it."""
    for alias, connection in taken.items():
        namespace.modules["django.db"].connections[alias] = connection


def close_pools(namespace: Namespace) -> None:
    """Close the connection pools of the process, which ``close_all`` leaves open (Django 5.1)."""
    db = _db(namespace)
    if db is None:
        return
    for alias, settings in db.connections.settings.items():
        # Only a backend that is loaded can have a pool. To load one now would bring registrations
        # that nobody releases any more.
        if f"{settings['ENGINE']}.base" in namespace.modules:
            connection = db.connections[alias]
            if hasattr(connection, "close_pool"):
                connection.close_pool()


def _db(namespace: Namespace) -> Any | None:
    """``django.db`` if the site has imported it; a site need not use Django."""
    return namespace.modules.get("django.db")
