"""``make run``: migrate the sample sites, serve all sites, and print the URLs to open then.

For a look at the gateway on one's own machine: the admin endpoints are open to it
(``GATEWAY_ADMIN_OPEN``). In production run ``uvicorn gateway.main:app`` as the README says.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from gateway.config import ADMIN_HOSTS, SiteConfig, read_config_leniently
from gateway.errors import GatewayError
from gateway.main import app
from gateway.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = frozenset(ROOT / "projects" / name for name in ("guestbook", "shop"))


class Server(uvicorn.Server):
    """uvicorn that says where to look once it serves."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            print("\nOpen in a browser:\n")
            for site in app.state.registry.status().sites:
                if site.failure is None:
                    print(f"  http://{host_to_open(site.hosts)}:{port}/")
            print(f"  http://localhost:{port}/   the sites and how they are\n", flush=True)


def host_to_open(hosts: Sequence[str]) -> str:
    """A host of a site that a browser can ask for: ``*.shop.example`` is none, but covers one."""
    plain = (host for host in hosts if not host.startswith("*."))
    return next(plain, hosts[0].replace("*", "www", 1))


def samples() -> list[SiteConfig]:
    """The sites that are the repository's own samples, to be run with the gateway's own Python.

    No other site is touched: when its database changes is for its owner to say, and by which
    Django. What is wrong with the settings or with ``sites.json``, the gateway says when it starts.
    """
    try:
        settings = Settings.load()
        config = read_config_leniently(
            settings.sites,
            environ=os.environ,
            admin_hosts=ADMIN_HOSTS.union(settings.admin_hosts),
        )
    except GatewayError:
        return []
    return [
        site
        for site in config.sites.values()
        if site.venv is None and site.path.resolve() in SAMPLES
    ]


def migrate(site: SiteConfig) -> None:
    """Bring the database of a sample site up to date, with the environment it is served with.

    Says so if that fails: a site that is broken keeps no other from being served.
    """
    command = [sys.executable, "manage.py", "migrate", "--noinput", "--verbosity=0"]
    done = subprocess.run(command, cwd=site.path, env=dict(site.env), check=False)
    if done.returncode:
        print(
            f"\n{site.name} could not be migrated, for the reason above; the others are served\n",
            flush=True,
        )


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    options = parser.parse_args()
    os.chdir(ROOT)
    os.environ.setdefault("GATEWAY_ADMIN_OPEN", "1")
    for site in samples():
        print(f"migrating {site.name} …", flush=True)
        migrate(site)
    config = uvicorn.Config(
        app,
        http="gateway.protocol:Protocol",
        port=options.port,
        timeout_graceful_shutdown=10,
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after a clean stop
        Server(config).run()


if __name__ == "__main__":
    main()
