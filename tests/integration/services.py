"""The servers around a gateway: nginx or HAProxy in front of it, PostgreSQL behind its sites."""

from __future__ import annotations

import re
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg

from .programs import (
    Program,
    find_program,
    free_port,
    listens,
    plain_environ,
    private_folder,
    run,
    unprivileged,
)

_NGINX_CONF: Final = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            {headers}
        }}
    }}
}}
"""
_HAPROXY_CONF: Final = """
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s

frontend tests
    bind 127.0.0.1:{port}
{lines}
    default_backend gateway

backend gateway
    server gateway 127.0.0.1:{upstream}
"""
_SUPERUSER: Final = "gateway_tests"


@contextmanager
def nginx(upstream: int, headers: str) -> Iterator[int]:
    """An nginx in front of the port ``upstream``; yields its own port.

    ``headers`` is what an administrator writes into the location.
    """
    binary = find_program("nginx", "nginx-light")
    user = unprivileged("nobody")
    with private_folder(user) as folder:
        port = free_port()
        conf = folder / "nginx.conf"
        conf.write_text(
            _NGINX_CONF.format(folder=folder, port=port, upstream=upstream, headers=headers)
        )
        program = Program(
            [binary, "-p", folder, "-e", "stderr", "-c", conf],
            folder=folder,
            environ=plain_environ(),
            log=folder / "nginx.log",
            user=user,
        )
        with _serving(program, port):
            yield port


@contextmanager
def haproxy(upstream: int, lines: str = "") -> Iterator[int]:
    """A HAProxy in front of the port ``upstream``; yields its own port.

    ``lines`` is what an administrator writes into the frontend. It passes ``Host`` on as it came.
    """
    binary = find_program("haproxy", "haproxy")
    user = unprivileged("nobody")
    with private_folder(user) as folder:
        port = free_port()
        conf = folder / "haproxy.cfg"
        conf.write_text(_HAPROXY_CONF.format(port=port, upstream=upstream, lines=lines))
        program = _HAProxy(
            [binary, "-db", "-f", conf],
            folder=folder,
            environ=plain_environ(),
            log=folder / "haproxy.log",
            user=user,
        )
        with _serving(program, port):
            yield port


@contextmanager
def _serving(program: Program, port: int) -> Iterator[None]:
    program.start(lambda: listens(port))
    try:
        yield
    finally:
        program.stop()


class _HAProxy(Program):
    # It is ended by the signal, after it has let go of its ports.
    good_ends = frozenset({0, 128 + signal.SIGTERM, -signal.SIGTERM})


class PostgreSQL:
    """A running cluster, and the one who may do everything in it."""

    def __init__(self, port: int, password: str, program: Program) -> None:
        self.port = port
        self.password = password
        self._program = program

    @contextmanager
    def gone(self) -> Iterator[None]:
        """While inside ``with``, it is stopped: sessions are ended, connections refused."""
        self._program.stop()
        try:
            yield
        finally:
            self._program.start(self.answers)

    def create_database(self, name: str) -> str:
        """Make an empty database; returns its URL."""
        assert re.fullmatch(r"[a-z_]+", name), "names are not quoted"
        url = self._url("postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _url(self, database: str) -> str:
        return f"postgres://{_SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"


class _Cluster(Program):
    # "Fast": sessions are ended, and nothing is left to recover.
    stop_signal = signal.SIGINT


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A cluster of its own, empty, on a free port; it is gone afterwards."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    initdb = find_program("initdb", "postgresql", *versions)
    user = unprivileged("postgres")
    with private_folder(user) as folder:
        port, password = free_port(), secrets.token_urlsafe(16)
        data = folder / "data"
        _initialise(initdb, data, password, user)
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            # Nobody needs this data after a crash.
            "fsync": "off",
            "full_page_writes": "off",
        }
        options = [part for item in settings.items() for part in ("-c", "{}={}".format(*item))]
        program = _Cluster(
            [initdb.with_name("postgres"), "-D", data, *options],
            folder=folder,
            environ=plain_environ(),
            log=folder / "postgresql.log",
            user=user,
        )
        server = PostgreSQL(port, password, program)
        program.start(server.answers)
        try:
            yield server
        finally:
            program.stop()


def _initialise(initdb: Path, data: Path, password: str, user: str | None) -> None:
    secret = data.parent / "password"
    secret.write_text(password)
    secret.chmod(0o644)
    options: list[str | Path] = [
        "--auth",
        "scram-sha-256",
        "--pwfile",
        secret,
        "--username",
        _SUPERUSER,
    ]
    # The C locale is on every machine.
    options += ["--encoding", "UTF8", "--locale", "C", "--no-sync"]
    run([initdb, "--pgdata", data, *options], folder=data.parent, user=user)
    secret.unlink()


def _version(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0
