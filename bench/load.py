"""What a further site of the same shape costs: milliseconds to load, megabytes to keep.

    python bench/load.py [--sites 10] [--rounds 5]

Each round is a fresh process that loads copies of a sample project one after the other into
namespaces of their own and asks each for its front page. Figures are medians over the rounds;
the ratio to the first site is taken within each round, because machines drift.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from samples import SAMPLE, megabytes, prepare
from starlette.types import Message

from gateway.backends.inprocess import InProcessBackend
from gateway.config import ADMIN_HOSTS, read_config


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one-round", metavar="DIR", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_round:
        print(json.dumps(asyncio.run(one_round(Path(options.one_round)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.sites)
        command = [sys.executable, __file__, "--one-round", folder]
        rounds = [
            json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            for _ in range(options.rounds)
        ]
    report(rounds)


async def one_round(folder: Path) -> list[tuple[float, float]]:
    """Load every site; milliseconds and megabytes of each."""
    config = read_config(folder / "sites.json", environ=os.environ, admin_hosts=ADMIN_HOSTS)
    figures = []
    async with InProcessBackend(threads=1) as backend:
        generations = []  # kept: what is measured is what stays
        for site in config.sites.values():
            before, started = megabytes(os.getpid()), time.perf_counter()
            generation = await backend.load(site, 1)
            milliseconds = (time.perf_counter() - started) * 1000
            status = await front_page(generation, site.hosts[0])
            assert status == 200, f"{site.name} answered {status}"
            generations.append(generation)
            figures.append((milliseconds, megabytes(os.getpid()) - before))
    return figures


async def front_page(generation: object, host: str) -> int:
    """The status of ``GET /``."""
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", host.encode())],
        "server": (host, 80),
        "client": ("127.0.0.1", 1),
    }
    await generation(scope, receive, send)  # type: ignore[operator]
    return statuses[0]


def report(rounds: list[list[tuple[float, float]]]) -> None:
    """Print medians for each site, and the ratio of a further site to the first."""
    print(
        f"{SAMPLE} on {platform.python_implementation()} {platform.python_version()}, "
        f"{os.cpu_count()} cores, {len(rounds)} rounds\n"
    )
    print("| site | load ms | of the first | MB |\n|---|---|---|---|")
    for number in range(len(rounds[0])):
        of_first = statistics.median(figures[number][0] / figures[0][0] for figures in rounds)
        milliseconds = statistics.median(figures[number][0] for figures in rounds)
        megabytes = statistics.median(figures[number][1] for figures in rounds)
        print(f"| {number + 1} | {milliseconds:.0f} | {of_first:.2f} | {megabytes:.1f} |")
    ratios = [statistics.median(ms for ms, _ in f[1:]) / f[0][0] for f in rounds]
    print(f"\na further site takes {statistics.median(ratios):.2f} of the first", end="")
    print(f" (rounds: {', '.join(f'{ratio:.2f}' for ratio in sorted(ratios))}),")
    adds = [statistics.median(mb for _, mb in f[1:]) for f in rounds]
    print(f"and adds {statistics.median(adds):.1f} MB")


if __name__ == "__main__":
    main()
