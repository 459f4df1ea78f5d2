"""The load: wrk, which costs a few microseconds for a request, with the hosts in turn.

wrk counts answers from 400 on as errors, and adds to its latencies the samples that a client with
a fixed rate would have seen ("coordinated omission"), so its p99 is no better than the true one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SCRIPT: Final = Path(__file__).with_name("wrk.lua")
_TIMEOUT: Final = "20s"


@dataclass(frozen=True)
class Load:
    """So many connections that ask for a path, one request after the other each."""

    path: str
    connections: int
    method: str = "GET"
    body: int = 0
    """Bytes."""

    def __str__(self) -> str:
        return f"{self.connections} on {self.path}"


@dataclass(frozen=True)
class Outcome:
    """What one load saw."""

    requests: int
    rate: float
    """Requests a second."""
    p50: float
    p99: float
    """Milliseconds."""
    errors: dict[str, int]
    """By kind; none of them zero."""


def run(loads: Sequence[Load], port: int, hosts: Sequence[str], seconds: int) -> list[Outcome]:
    """Put loads on a server at the same time."""
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed: apt-get install wrk")
    running = [
        subprocess.Popen(_command(load, port, hosts, seconds), stdout=subprocess.PIPE, text=True)
        for load in loads
    ]
    return [_outcome(process) for process in running]


def _command(load: Load, port: int, hosts: Sequence[str], seconds: int) -> list[str]:
    url = f"http://127.0.0.1:{port}{load.path}"
    connections = ["--threads=1", f"--connections={load.connections}"]
    limits = [f"--duration={seconds}s", f"--timeout={_TIMEOUT}"]
    script = [f"--script={_SCRIPT}", url, "--", load.method, str(load.body), *hosts]
    return ["wrk", *connections, *limits, *script]


def _outcome(process: subprocess.Popen[str]) -> Outcome:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"wrk ended with {process.returncode}: {output}")
    figures = json.loads(output.splitlines()[-1])
    return Outcome(
        requests=figures["requests"],
        rate=figures["requests"] / figures["microseconds"] * 1e6,
        p50=figures["p50"] / 1000,
        p99=figures["p99"] / 1000,
        errors={kind: count for kind, count in figures["errors"].items() if count},
    )
