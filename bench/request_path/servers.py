"""Running servers: started once for a run, watched through ``/proc`` (Linux)."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.request_path.peers import Peer, Place, set_up
from bench.samples import ENVIRON, prepare
from tests.integration.programs import Program, free_port, plain_environ

PROJECT: Final = Path(__file__).with_name("project")
BURN_MILLISECONDS: Final = 15
_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_QUIET: Final = 0.05
"""The share of a processor below which a server counts as idle."""


class Server(Program):
    """A peer that serves the project. ``with`` it."""

    good_ends = frozenset({0, -signal.SIGTERM})

    def __init__(self, peer: Peer, place: Place, environ: Mapping[str, str]) -> None:
        super().__init__(
            peer.command(place),
            # The gateway finds its sites.json where the sites are.
            folder=place.sites[0].parent if peer.many_sites else place.sites[0],
            environ=plain_environ(
                **environ, **peer.environ, GATEWAY_STATE_DIR=str(place.folder / "state")
            ),
            log=place.folder / "server.log",
        )
        self.peer = peer
        self.python = place.python
        self.port = place.port
        self.sites = place.sites
        self.hosts = [f"{site.name}.localhost" for site in place.sites]

    def __enter__(self) -> Server:
        waiting = list(self.hosts)

        def ready() -> bool:
            while waiting and self.get(waiting[-1], "/tiny/") == (200, b"ok"):
                waiting.pop()
            return not waiting

        self.start(ready)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def get(self, host: str, path: str, timeout: float = 20) -> tuple[int, bytes]:
        """Ask on a new connection; the status, 0 if there was no answer, and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            try:
                connection.request("GET", path, headers={"Host": host})
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException):
                return 0, b""

    def processes(self) -> list[int]:
        """The process and all that it has started."""
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += map(int, task.read_text().split())
        return found

    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        return sum(cpu_of(Path(f"/proc/{pid}/stat")) for pid in self.processes())

    def main_thread_cpu(self) -> float:
        """The part of it that the main thread used: the event loop, where there is one."""
        return cpu_of(Path(f"/proc/{self.pid}/task/{self.pid}/stat"))

    def versions(self) -> list[str]:
        """The versions of the server and of Django."""
        named = ("django", "gunicorn", "uwsgi", "mod_wsgi", "granian", "uvicorn", "a2wsgi")
        folder = next(self.python.parent.parent.glob("lib/*/site-packages"))
        found = (path.stem.lower().split("-") for path in folder.glob("*.dist-info"))
        return [f"{name} {version}" for name, version, *_ in found if name in named]

    def settle(self) -> None:
        """Wait until what clients left behind is done, ten seconds at most."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            before = self.cpu()
            time.sleep(0.4)
            if self.cpu() - before <= 0.4 * _QUIET:
                return


def cpu_of(stat: Path) -> float:
    """Seconds of CPU of a process or thread, from its ``stat`` in ``/proc``."""
    with contextlib.suppress(OSError):
        # The name in parentheses may itself hold spaces; utime and stime are fields 14 and 15.
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK
    return 0.0


@contextlib.contextmanager
def running(
    peers: Sequence[Peer], sites: int, change: Callable[[Path, list[Path]], None] = lambda *_: None
) -> Iterator[list[Server]]:
    """Every peer that can be had, serving ``sites`` copies of the project or the first of them.

    ``change`` is called with an interpreter and the copies before the servers start.
    """
    interpreters = set_up(list(peers))
    if not interpreters:
        raise SystemExit("nothing to measure")
    python = next(iter(interpreters.values()))
    environ = {**ENVIRON, "BENCH_STEPS": str(calibrated_steps(python))}
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-"))
        folder = Path(name)
        copies = prepare(folder, sites, PROJECT, environ=environ, python=python, preload=True)
        change(python, copies)
        servers = []
        for peer, interpreter in interpreters.items():
            own = folder / f"of-{peer.name}"
            own.mkdir()
            place = Place(interpreter, own, copies, free_port())
            print(f"starting {peer.name}", file=sys.stderr)
            try:
                servers.append(stack.enter_context(Server(peer, place, environ)))
            except AssertionError as error:
                print(f"left out: {peer.name}: {error}", file=sys.stderr)
        yield servers


def calibrated_steps(python: Path) -> int:
    """How many steps a burner takes for its milliseconds, by the best of some tries."""
    script = (
        "import time\nfrom things.burning import burn\nsteps = 20_000\n"
        "def tried():\n    start = time.process_time(); burn(steps)\n"
        "    return time.process_time() - start\n"
        f"print(int(steps * {BURN_MILLISECONDS / 1000} / min(tried() for _ in range(50))))"
    )
    done = subprocess.run([python, "-c", script], cwd=PROJECT, check=True, stdout=subprocess.PIPE)
    return int(done.stdout)
