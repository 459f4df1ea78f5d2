"""How many connections to PostgreSQL many sites hold, under load and when nobody asks."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg

from bench.request_path import servers, wrk
from bench.request_path.peers import Peer
from bench.request_path.servers import Server
from bench.request_path.wrk import Load
from bench.samples import ENVIRON
from tests.integration.programs import run
from tests.integration.services import postgresql

_DRIVER: Final = "psycopg[binary,pool]>=3.2,<4"
_CONNECTIONS: Final = 64
KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "CONN_MAX_AGE=60": {"CONN_MAX_AGE": 60},
    # psycopg_pool's own defaults keep four open for ever: 200 for 50 sites, whoever serves them.
    "pools": {"OPTIONS": {"pool": {"min_size": 0, "max_size": 2, "max_idle": 10}}},
}
"""What the sites' DATABASES says beside the address."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--sites", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=15, help="of load")
    parser.add_argument("--idle", type=float, default=30, help="seconds without any")


def main(chosen: Sequence[Peer], options: argparse.Namespace) -> None:
    """Run against each server that can have many sites, in turn."""
    heads = ["server", "sites", "requests/s", "connections at most", f"idle {options.idle:g} s"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for peer in chosen:
        if peer.many_sites:
            driven = dataclasses.replace(peer, requirements=(*peer.requirements, _DRIVER))
            for kind in KINDS:
                _measure(driven, kind, options)


def _measure(peer: Peer, kind: str, options: argparse.Namespace) -> None:
    with postgresql() as cluster:
        model = cluster.create_database("model")

        def change(python: Path, sites: list[Path]) -> None:
            _give_databases(model, python, sites, KINDS[kind])

        with servers.running([peer], options.sites, change) as running:
            for server in running:
                print(_row(server, _other(model, "postgres"), kind, options), flush=True)


def _row(server: Server, observer: str, kind: str, options: argparse.Namespace) -> str:
    # Each site also gets all connections to itself for a moment.
    alone = itertools.islice(itertools.cycle(server.hosts), 3)
    load = Load("/orm/", _CONNECTIONS)
    with _watched(observer) as counts:
        (outcome,) = wrk.run([load], server.port, server.hosts, options.seconds)
        errors = [outcome.errors]
        errors += [wrk.run([load], server.port, [host], 1)[0].errors for host in alone]
        at_most = max(counts)
        time.sleep(options.idle)
        idle = counts[-1]
    rate = f"{outcome.rate:.0f}" if not any(errors) else f"invalid: {errors}"
    sites = f"{len(server.hosts)}, {kind}"
    return f"| {server.peer.name} | {sites} | {rate} | {at_most} | {idle} |"


@contextmanager
def _watched(url: str) -> Iterator[list[int]]:
    """A list that grows by the number of connections, our own left out, all the time."""
    counts: list[int] = []
    stop = threading.Event()
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(url, autocommit=True) as connection:

        def watch() -> None:
            while not stop.wait(0.05):
                counts.append(connection.execute(query).fetchall()[0][0])

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield counts
        finally:
            stop.set()
            thread.join()


def _give_databases(
    model: str, python: Path, sites: Sequence[Path], settings: Mapping[str, Any]
) -> None:
    """A database for each site: copies of one that is migrated."""
    _write(sites[0], model, settings)
    run([python, "manage.py", "migrate"], folder=sites[0], environ=ENVIRON)
    with psycopg.connect(_other(model, "postgres"), autocommit=True) as connection:
        for site in sites:
            connection.execute(f"CREATE DATABASE {site.name} TEMPLATE model".encode())
            _write(site, _other(model, site.name), settings)


def _other(url: str, name: str) -> str:
    """The URL of another database of the same cluster."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _write(site: Path, url: str, settings: Mapping[str, Any]) -> None:
    parts = urlsplit(url)
    address = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.removeprefix("/"),
        "USER": parts.username,
        "PASSWORD": parts.password,
        "HOST": parts.hostname,
        "PORT": parts.port,
    }
    (site / "database.json").write_text(json.dumps({**address, **settings}))
