"""Full garbage collections, amid requests and in idle moments: how many, and how long they take.

    python bench/collector.py [--sites 30] [--requests 100]

Loads sites one after the other, as preloading and reloads do, and asks all that are loaded in turn
after each load; at the end nobody asks for a while. Once with Python's own rule, once with the
gateway's, each in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from load import front_page
from samples import SAMPLE, prepare

from gateway.backends.inprocess import InProcessBackend
from gateway.config import ADMIN_HOSTS, read_config

_IDLE: Final = 4
RULES: Final = {"plain": "Python's own", "held": "the gateway's"}


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=30)
    parser.add_argument("--requests", type=int, default=100, help="after each load")
    parser.add_argument("--one", nargs=2, metavar=("RULE", "DIR"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        rule, folder = options.one
        print(json.dumps(asyncio.run(one(rule, Path(folder), options.requests))))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.sites)
        print(f"{options.sites} copies of {SAMPLE}, {options.requests} requests after each load\n")
        print("| rule | amid requests | longest ms | all ms | when idle | longest ms |")
        print("|---|---|---|---|---|---|")
        for rule, name in RULES.items():
            command = [sys.executable, __file__, "--requests", str(options.requests)]
            command += ["--one", rule, folder]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            amid, idle = json.loads(output)
            print(f"| {name} | {len(amid)} | {max(amid, default=0):.0f} | {sum(amid):.0f} ", end="")
            print(f"| {len(idle)} | {max(idle, default=0):.0f} |", flush=True)


async def one(rule: str, folder: Path, requests: int) -> tuple[list[float], list[float]]:
    """Milliseconds of the full collections amid requests, and of those in a thread of ours."""
    pauses: tuple[list[float], list[float]] = ([], [])
    started = 0.0

    def note(phase: str, info: dict[str, int]) -> None:
        nonlocal started
        if phase == "start":
            started = time.perf_counter()
        elif info["generation"] == 2:
            idle = threading.current_thread().name == "gateway collector"
            pauses[idle].append((time.perf_counter() - started) * 1000)

    config = read_config(folder / "sites.json", environ=os.environ, admin_hosts=ADMIN_HOSTS)
    thresholds = gc.get_threshold()
    async with InProcessBackend(threads=1) as backend:
        if rule == "plain":
            gc.set_threshold(*thresholds)
        gc.callbacks.append(note)
        loaded = []
        for site in config.sites.values():
            loaded.append((await backend.load(site, 1), site.hosts[0]))
            for number in range(requests):
                status = await front_page(*loaded[number % len(loaded)])
                assert status == 200, f"{site.name} answered {status}"
        await asyncio.sleep(_IDLE)
        gc.callbacks.remove(note)
    return pauses


if __name__ == "__main__":
    main()
