"""``make run``: migrate the sample sites, serve them, and print the URLs to open once they answer.

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
from pathlib import Path

import uvicorn

from gateway.config import ADMIN_HOSTS, Config, SiteConfig, read_config

ROOT = Path(__file__).resolve().parent.parent


class Server(uvicorn.Server):
    """uvicorn that says where to look once it serves."""

    def __init__(self, config: uvicorn.Config, sites: Config) -> None:
        super().__init__(config)
        self._sites = sites

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            print("\nOpen in a browser:\n")
            for site in self._sites.sites.values():
                print(f"  http://{site.hosts[0]}:{port}/")
            print(f"  http://localhost:{port}/   the sites and how they are\n", flush=True)


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
    sites = read_config(ROOT / "sites.json", environ=os.environ, admin_hosts=ADMIN_HOSTS)
    for site in sites.sites.values():
        print(f"migrating {site.name} …", flush=True)
        migrate(site)
    config = uvicorn.Config(
        "gateway.main:app",
        http="gateway.protocol:Protocol",
        port=options.port,
        timeout_graceful_shutdown=10,
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after a clean stop
        Server(config, sites).run()


if __name__ == "__main__":
    main()
