"""What N sites cost in one gateway, and in N gunicorn processes, in the same run.

    pip install -e '.[bench]' && python bench/memory.py [--sites 1 10 30 100] [--rounds 3]

Memory is PSS (Linux): pages that processes share count once, which favours gunicorn. Every site
has answered its front page once. Milliseconds are from the start to that answer, sites one after
the other. Medians over the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from samples import ENVIRON, SAMPLE, megabytes, prepare

DEADLINE = 60.0


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="+", default=[1, 10, 30, 100])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(
        f"{SAMPLE} on {platform.python_implementation()} {platform.python_version()}, "
        f"{os.cpu_count()} cores, {options.rounds} rounds\n"
    )
    print("| sites | gateway MB | a further site | ms | gunicorn MB | each | ms |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copies = prepare(folder, max(options.sites))
        first: float | None = None
        for count in options.sites:
            rounds = [
                (gateway(folder, copies[:count]), gunicorns(copies[:count]))
                for _ in range(options.rounds)
            ]
            ours, our_ms, theirs, their_ms = (
                statistics.median(values)
                for values in zip(*((*one, *other) for one, other in rounds), strict=True)
            )
            first = first if first is not None else ours
            further = f"{(ours - first) / (count - 1):.1f}" if count > 1 else ""
            print(
                f"| {count} | {ours:.0f} | {further} | {our_ms:.0f} "
                f"| {theirs:.0f} | {theirs / count:.1f} | {their_ms:.0f} |",
                flush=True,
            )


def gateway(folder: Path, copies: list[Path]) -> tuple[float, float]:
    """Megabytes of a gateway that has served ``copies``, and milliseconds for the median site."""
    command = [sys.executable, "-m", "uvicorn", "gateway.main:app", "--log-level", "warning"]
    with server([*command, "--fd", "{fd}"], folder, {}) as (pid, port):
        times = [ask(port, f"{copy.name}.localhost") for copy in copies]
        return megabytes(pid), statistics.median(times)


def gunicorns(copies: list[Path]) -> tuple[float, float]:
    """Megabytes of a gunicorn for each of ``copies``, and milliseconds for the median one."""
    command = [sys.executable, "-m", "gunicorn", "core.wsgi", "--threads", "8"]
    command += ["--bind", "fd://{fd}", "--log-level", "warning"]
    times = []
    with contextlib.ExitStack() as stack:
        pids = []
        for copy in copies:
            started = time.perf_counter()
            pid, port = stack.enter_context(server(command, copy, ENVIRON))
            ask(port, f"{copy.name}.localhost")
            times.append((time.perf_counter() - started) * 1000)
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            pids += [pid, *map(int, children)]
        return megabytes(*pids), statistics.median(times)


@contextlib.contextmanager
def server(command: list[str], folder: Path, environ: dict[str, str]) -> Iterator[tuple[int, int]]:
    """A server on a socket that listens already, so that nothing has to wait for it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        listening.set_inheritable(True)
        process = subprocess.Popen(
            [part.format(fd=listening.fileno()) for part in command],
            cwd=folder,
            env={**os.environ, **environ},
            pass_fds=[listening.fileno()],
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process.pid, listening.getsockname()[1]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE)


def ask(port: int, host: str) -> float:
    """Fetch the front page; milliseconds until it is there."""
    started = time.perf_counter()
    response = httpx.get(f"http://127.0.0.1:{port}/", headers={"Host": host}, timeout=DEADLINE)
    assert response.status_code == 200, f"{host} answered {response.status_code}"
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
