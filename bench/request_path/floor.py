"""How far the gateway is from its floor, the WSGI application called in a loop, and why.

The floor is one thread, without any HTTP: on one site, and on all of them in turn, which is what
the load asks for. Beside it stands what gunicorn does on one site, which shows how many times that
a server with one GIL could reach at all. What is above the floor lies on the event loop's thread or
on the threads of the sites (CPU, from ``/proc``). Who holds the GIL is sampled by py-spy under the
same load, afterwards; a sample belongs to the innermost frame outside the standard library, so
``uvicorn/_compat.py``, which starts the event loop, stands for the loop itself. These shares are of
time, not of CPU: a thread that the machine takes off the processor keeps the GIL.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.request_path import servers, wrk
from bench.request_path.peers import GUNICORN, PEERS, Peer
from bench.request_path.servers import Server
from bench.request_path.wrk import Load
from bench.samples import ROOT
from tests.integration.cache import virtual_environment
from tests.integration.programs import run

_PATHS: Final = ("/tiny/", "/orm/", "/template/")
_HEADS: Final = (
    *("view", "gunicorn/s", "floor, one site, /s · CPU ms", "of gunicorn"),
    *("floor, all in turn", "of gunicorn", "gateway", "of gunicorn", "on the loop ms"),
)
_SAMPLES_A_SECOND: Final = 200
_FRAME: Final = re.compile(r"\((/[^:()]+):\d+\)$")
_PACKAGE: Final = re.compile(r"/site-packages/(([^/]+).*)")
_SHOWN: Final = 14
_WORK: Final = "Django and the site"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--sites", type=int, default=30)
    parser.add_argument("--seconds", type=int, default=10, help="for each figure")
    parser.add_argument("--connections", type=int, default=16)


def main(chosen: Sequence[Peer], options: argparse.Namespace) -> None:
    """Print the table, and a profile for each view."""
    gateways = [peer for peer in chosen if peer.is_gateway]
    gunicorn = next(peer for peer in PEERS if peer.name == GUNICORN)
    with servers.running([gunicorn, *gateways], options.sites) as (base, *running):
        if base.peer is not gunicorn:
            raise SystemExit(f"there is no {GUNICORN} to compare with")
        for server in running:
            _report(server, base, options)


def _report(server: Server, base: Server, options: argparse.Namespace) -> None:
    print(f"\n{server.peer.name}\n\n| {' | '.join(_HEADS)} |\n{'|---' * len(_HEADS)}|")
    profiles = {}
    for path in _PATHS:
        load = Load(path, options.connections)
        floor = _floor(server, path, options.seconds)
        one, turn = 1000 / floor["one"], 1000 / floor["in turn"]
        least, _, _ = _measure(base, load, options.seconds)
        rate, cpu, loop = _measure(server, load, options.seconds)
        print(
            f"| {path} | {least:.0f} | {one:.0f} · {floor['one']:.3f} | {one / least:.2f} "
            f"| {turn:.0f} · {floor['in turn']:.3f} | {turn / least:.2f} "
            f"| {rate:.0f} · {cpu:.3f} | {rate / least:.2f} | {loop:.3f} |",
            flush=True,
        )
        profiles[path] = _profile(server, load, options.seconds)
    for path, owners in profiles.items():
        print(f"\n| {path}, {owners.total()} samples | share |\n|---|---|")
        for owner, count in owners.most_common(_SHOWN):
            print(f"| {owner} | {count / owners.total():.1%} |")


def _floor(server: Server, path: str, seconds: int) -> dict[str, float]:
    """Milliseconds of CPU for a request, of the applications alone.

    For each path anew, just before what it is compared with: machines drift.
    """
    command = [server.python, "-m", "bench.request_path.calling", str(seconds), path]
    output = run(
        [*command, *server.sites],
        folder=server.folder,
        environ={"BENCH_STEPS": server.environ["BENCH_STEPS"], "PYTHONPATH": str(ROOT)},
    )
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def _measure(server: Server, load: Load, seconds: int) -> tuple[float, float, float]:
    """Requests a second; milliseconds of CPU for one, and those of them on the main thread."""
    wrk.run([load], server.port, server.hosts, 1)
    server.settle()
    before, loop_before = server.cpu(), server.main_thread_cpu()
    (outcome,) = wrk.run([load], server.port, server.hosts, seconds)
    assert not outcome.errors, f"{load}: {outcome.errors}"
    cpu, loop = server.cpu() - before, server.main_thread_cpu() - loop_before
    return outcome.rate, cpu / outcome.requests * 1000, loop / outcome.requests * 1000


def _profile(server: Server, load: Load, seconds: int) -> Counter[str]:
    """Samples by owner, under the same load."""
    spy = virtual_environment(["py-spy"]) / "bin" / "py-spy"
    with tempfile.NamedTemporaryFile() as file:
        # Without --gil a thread that waits for the GIL or for a lock is taken for one that works.
        options = ["--gil", "--duration", str(seconds), "--rate", str(_SAMPLES_A_SECOND)]
        output = ["--format", "raw", "--full-filenames", "--output", file.name]
        sampling = subprocess.Popen(
            [spy, "record", "--pid", str(server.pid), *options, *output],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        wrk.run([load], server.port, server.hosts, seconds + 1)
        _, errors = sampling.communicate()
        assert sampling.returncode == 0, errors.decode()
        owners: Counter[str] = Counter()
        for line in Path(file.name).read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            owners[_owner(stack.split(";"), server.folder)] += int(count)
        return owners


def _owner(frames: Sequence[str], sites: Path) -> str:
    """Whose code the innermost frame outside the standard library is."""
    for frame in reversed(frames):
        if not (match := _FRAME.search(frame)):
            continue
        path = match[1]
        if path.startswith(str(sites)):
            return _WORK
        if "/gateway/" in path and "site-packages" not in path:
            return f"gateway/{path.rpartition('/gateway/')[2]}"
        if package := _PACKAGE.search(path):
            file, name = package.groups()
            return _WORK if name in ("django", "sqlparse", "asgiref") else file
    return "the standard library alone"
