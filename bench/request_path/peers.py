"""The servers that are compared, and how each is set up and started.

All run one process for a site with the interpreter that runs the bench, and Django 5.2, but for the
two in ``TWO``. Some serve many sites by host, as the gateway does; the others serve the project
once, whatever host is asked.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.samples import ROOT
from tests.integration.cache import virtual_environment
from tests.integration.programs import free_port

DJANGO: Final = "django==5.2.*"
THREADS: Final = 8
GUNICORN: Final = "gunicorn"
GATEWAY: Final = "gateway"
ONE_THREAD: Final = "one-thread"
FIXED_POOL: Final = "fixed-pool"
A2WSGI: Final = "a2wsgi"
_APACHE: Final = "apt-get install apache2-bin apache2-dev"
_APACHE_CONNECTIONS: Final = 128
_MODULES: Final = Path("/usr/lib/apache2/modules")


@dataclass(frozen=True)
class Place:
    """What a command is written for: where the sites are and where to listen."""

    python: Path
    folder: Path
    """For files of the server's own."""
    sites: list[Path]
    port: int

    @property
    def bin(self) -> Path:
        """The scripts of the virtual environment."""
        return self.python.parent


Command = Callable[[Place], list[str]]


@dataclass(frozen=True, eq=False)
class Peer:
    """A server. ``unavailable`` says why it cannot be set up here, if that is known beforehand."""

    name: str
    requirements: tuple[str, ...]
    command: Command
    many_sites: bool = False
    is_gateway: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    unavailable: Callable[[], str | None] = lambda: None

    def set_up(self) -> Path:
        """Its interpreter, in a cached virtual environment; ``SetupError`` says what is missing."""
        if reason := self.unavailable():
            raise SetupError(reason)
        try:
            return virtual_environment([DJANGO, *self.requirements]) / "bin" / "python"
        except AssertionError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise SetupError(lines[-1]) from error


class SetupError(Exception):
    """A peer that cannot be had on this machine."""


def gateway(
    name: str = GATEWAY,
    environ: Mapping[str, str] | None = None,
    options: tuple[str, ...] = (),
    requirements: tuple[str, ...] = (),
    application: str = "gateway.main:app",
) -> Peer:
    """The gateway of this checkout, with settings and options of uvicorn that make a variant."""

    def command(place: Place) -> list[str]:
        module = [str(place.python), "-m", "uvicorn", application, "--no-access-log"]
        return [*module, "--port", str(place.port), *options]

    return Peer(
        name,
        (*_dependencies(), *requirements),
        command,
        many_sites=True,
        is_gateway=True,
        environ={"PYTHONPATH": str(ROOT), **(environ or {})},
    )


def _dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [entry for entry in project["dependencies"] if not entry.startswith("django")]


def _gunicorn(workers: int) -> Command:
    def command(place: Place) -> list[str]:
        address = f"127.0.0.1:{place.port}"
        return [
            *(str(place.python), "-m", "gunicorn", "core.wsgi", "--bind", address),
            *("--worker-class", "gthread", "--workers", str(workers), "--threads", str(THREADS)),
            *("--log-level", "warning"),
        ]

    return command


def _granian(threads: int) -> Command:
    def command(place: Place) -> list[str]:
        return [
            *(str(place.python), "-m", "granian", "core.wsgi:application", "--interface", "wsgi"),
            *("--port", str(place.port), "--workers", "1", "--blocking-threads", str(threads)),
            *("--log-level", "warning"),
        ]

    return command


def _a2wsgi(place: Place) -> list[str]:
    return [
        *(str(place.python), "-m", "uvicorn", "core.stock_a2wsgi:application"),
        *("--port", str(place.port), "--no-access-log", "--log-level", "warning"),
    ]


_UWSGI_HTTP: Final = ("--http-keepalive", "--http-auto-chunked")
_UWSGI_SITE: Final = (
    "module = core.wsgi",
    "need-app = true",
    "processes = 1",
    f"threads = {THREADS}",
    "disable-logging = true",
)


def _uwsgi(place: Place) -> list[str]:
    ini = _write_ini(place.folder / "uwsgi.ini", _UWSGI_SITE)
    http = ["--http", f"127.0.0.1:{place.port}", *_UWSGI_HTTP]
    return [str(place.bin / "uwsgi"), "--master", "--die-on-term", *http, "--ini", str(ini)]


def _uwsgi_emperor(place: Place) -> list[str]:
    """A vassal for each site; they tell the HTTP router which host is theirs."""
    vassals = place.folder / "vassals"
    vassals.mkdir()
    subscriptions = f"127.0.0.1:{free_port()}"
    for site in place.sites:
        own = (
            f"chdir = {site}",
            f"socket = {place.folder / site.name}.sock",
            f"subscribe-to = {subscriptions}:{site.name}.localhost",
        )
        _write_ini(vassals / f"{site.name}.ini", (*own, *_UWSGI_SITE))
    return [
        *(str(place.bin / "uwsgi"), "--master", "--die-on-term", "--emperor", str(vassals)),
        *("--http", f"127.0.0.1:{place.port}", *_UWSGI_HTTP),
        *("--http-subscription-server", subscriptions),
    ]


def _write_ini(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join(["[uwsgi]", *lines, ""]))
    return path


_HTTPD_CONF: Final = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/httpd.pid
DefaultRuntimeDir {folder}
Mutex file:{folder}
ErrorLog /dev/stderr
LogLevel error
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {wsgi}
StartServers 1
ServerLimit 1
ThreadLimit {connections}
ThreadsPerChild {connections}
MaxRequestWorkers {connections}
MinSpareThreads 1
MaxSpareThreads {connections}
MaxKeepAliveRequests 0
WSGIPythonHome {home}
WSGIRestrictEmbedded On
WSGISocketPrefix {folder}/wsgi
WSGIDaemonProcess sites processes=1 threads={threads}
{hosts}
"""
_VIRTUAL_HOST: Final = """
<VirtualHost *:{port}>
    ServerName {name}.localhost
    WSGIScriptAlias / {script} process-group=sites application-group={name}
    <Directory {folder}>
        Require all granted
    </Directory>
</VirtualHost>
"""
_SCRIPT: Final = """
import os, sys
sys.path.insert(0, {path!r})
from core.wsgi import application
"""


def _mod_wsgi(place: Place) -> list[str]:
    """One daemon process of eight threads, a sub-interpreter for each site, and Apache before it.

    Not embedded in Apache: with as few threads as that its event module closes connections that
    are kept alive while all are busy.
    """
    (module,) = place.bin.parent.glob("lib/*/site-packages/mod_wsgi/server/mod_wsgi-*.so")
    hosts = []
    for site in place.sites:
        script = place.folder / f"{site.name}.wsgi"
        script.write_text(_SCRIPT.format(path=str(site)))
        hosts.append(
            _VIRTUAL_HOST.format(
                port=place.port, name=site.name, script=script, folder=place.folder
            )
        )
    conf = place.folder / "httpd.conf"
    conf.write_text(
        _HTTPD_CONF.format(
            folder=place.folder,
            port=place.port,
            modules=_MODULES,
            wsgi=module,
            threads=THREADS,
            connections=_APACHE_CONNECTIONS,
            home=place.bin.parent,
            hosts="".join(hosts),
        )
    )
    # Apache as root becomes somebody else, who need not be able to read the interpreter: it starts
    # in a user namespace where root is not called root.
    rename = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    return [*rename, "apache2", "-D", "FOREGROUND", "-f", str(conf)]


def _no_apache() -> str | None:
    return None if shutil.which("apxs") and shutil.which("apache2") else _APACHE


_SHARED_LIBRARY: Final = {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
"""What is linked against an interpreter outside the system's folders has to find it."""

PEERS: Final = (
    Peer(GUNICORN, ("gunicorn",), _gunicorn(1)),
    Peer("uwsgi", ("uwsgi",), _uwsgi, environ=_SHARED_LIBRARY),
    Peer("uwsgi-emperor", ("uwsgi",), _uwsgi_emperor, many_sites=True, environ=_SHARED_LIBRARY),
    Peer(
        "mod_wsgi",
        ("mod_wsgi",),
        _mod_wsgi,
        many_sites=True,
        environ=_SHARED_LIBRARY,
        unavailable=_no_apache,
    ),
    Peer("granian-1", ("granian",), _granian(1)),
    Peer("granian-8", ("granian",), _granian(THREADS)),
    Peer(A2WSGI, ("a2wsgi", "uvicorn", "httptools", "uvloop"), _a2wsgi),
)

OWN: Final = (
    gateway(),
    gateway(ONE_THREAD, {"GATEWAY_THREADS": "1"}),
    gateway(
        FIXED_POOL,
        {"GATEWAY_THREADS": str(THREADS)},
        application="bench.request_path.fixed_pool:app",
    ),
)
"""The gateway, and what its governor is measured by: the same bridge with fixed threads."""

TWO: Final = (
    Peer("gunicorn-2", ("gunicorn",), _gunicorn(2)),
    gateway("two-workers", options=("--workers", "2")),
)
"""Two processes for all sites, to see what a second processor brings."""

ALL: Final = (*PEERS, *OWN, *TWO)


def set_up(peers: list[Peer]) -> dict[Peer, Path]:
    """The interpreter of each peer that can be had; the others are named on standard error."""
    interpreters = {}
    for peer in peers:
        try:
            interpreters[peer] = peer.set_up()
        except SetupError as error:
            print(f"left out: {peer.name}: {error}", file=sys.stderr)
    return interpreters
