"""A real gateway: the command line that an operator types, on a port that is free."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx

from .clients import client_for
from .programs import Program, plain_environ

REPOSITORY: Final = Path(__file__).resolve().parents[2]
_ADDRESS: Final = re.compile(r"Uvicorn running on http://127\.0\.0\.1:(\d+)")

PROTOCOL: Final = ("--http", "gateway.protocol:Protocol")
"""The options for the gateway's own protocol class."""

Sites = Mapping[str, Mapping[str, Any]]
"""What stands under ``sites`` in ``sites.json``."""


class Gateway(Program):
    """``uvicorn gateway.main:app`` with a ``sites.json`` in a folder of its own.

    Another ``app`` has to pass everything on to that one.
    """

    # uvicorn ends by the signal that it was sent, after a clean stop.
    good_ends = frozenset({0, -signal.SIGTERM})

    def __init__(
        self,
        folder: Path,
        sites: Sites,
        environ: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        app: str = "gateway.main:app",
    ) -> None:
        super().__init__(
            [sys.executable, "-m", "uvicorn", app, "--port", "0", *options],
            folder=folder,
            environ=plain_environ(
                PYTHONPATH=str(REPOSITORY), PYTHONFAULTHANDLER="1", **(environ or {})
            ),
            log=folder / "gateway.log",
        )
        self.port = 0
        self.sites: Sites = {}
        self._clients = ExitStack()
        self.write_sites(sites)

    def __enter__(self) -> Gateway:
        self.start(self._is_ready)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clients.close()
        self.stop()

    @property
    def sites_json(self) -> Path:
        """The file that the operator edits."""
        return self.folder / "sites.json"

    @property
    def token(self) -> str:
        """The admin token, as the operator finds it."""
        folder = self.folder / ".gateway"
        own = folder / f"user-{os.geteuid()}"
        return ((own if own.is_dir() else folder) / "admin-token").read_text().strip()

    def write_sites(self, sites: Sites) -> None:
        """Replace ``sites.json`` as editors do: the new file takes the place of the old one."""
        self.sites = sites
        self.write_text(json.dumps({"sites": sites}, indent=2))

    def write_text(self, text: str) -> None:
        """Replace ``sites.json`` by any text."""
        draft = self.folder / "sites.json~"
        draft.write_text(text)
        draft.replace(self.sites_json)

    def client(self, host: str, headers: dict[str, str] | None = None) -> httpx.Client:
        """A visitor of one host. Lives as long as the gateway does."""
        return self._clients.enter_context(client_for(host, self.port, headers))

    def operator(self) -> httpx.Client:
        """Somebody who has the token."""
        return self.client("localhost", {"Authorization": f"Bearer {self.token}"})

    def health(self, name: str = "") -> dict[str, Any]:
        """What an operator is told about all sites, or about one."""
        path = f"/_health/{name}" if name else "/_health"
        headers = {"Authorization": f"Bearer {self.token}"}
        with client_for("localhost", self.port, headers) as client:
            health: dict[str, Any] = client.get(path).json()
            return health

    def state_of(self, name: str) -> str:
        """The state of one site."""
        return str(self.health()["sites"][name]["state"])

    def children(self) -> list[int]:
        """Process ids of the processes that the gateway has started and that still run."""
        stats = (stat for stat in Path("/proc").glob("[0-9]*/stat"))
        return [int(stat.parent.name) for stat in stats if _parent(stat) == self.pid]

    def workers(self) -> list[int]:
        """Process ids of the workers; beside them the supervisor has one that tracks resources."""
        return [pid for pid in self.children() if b"spawn_main" in _command(pid)]

    def _is_ready(self) -> bool:
        if not (match := _ADDRESS.search(self.output)):
            return False
        self.port = int(match[1])
        with client_for("localhost", self.port) as client:
            try:
                return client.get("/_health").status_code == 200
            except httpx.ConnectError:
                # With workers, the supervisor only binds: the first of them listens.
                return False


def _command(pid: int) -> bytes:
    """The command line of a process, empty if it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _parent(stat: Path) -> int | None:
    """The parent of a process; see proc(5). ``None`` if it has ended meanwhile."""
    try:
        # The name in parentheses may itself hold spaces and parentheses.
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
