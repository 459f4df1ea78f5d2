"""Calls the WSGI application in a loop, in a namespace, for ``request_path``. Prints JSON."""

from __future__ import annotations

import json
import sys
import time

from asking import ask

SECONDS = float(sys.argv[1])
PATHS = sys.argv[2:]


def measured(path: str) -> dict[str, float]:
    """Requests a second, and milliseconds of CPU for one."""
    for _ in range(20):
        ask(path)
    count, started, cpu = 0, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - started) < SECONDS:
        ask(path)
        count += 1
    return {"rate": count / passed, "cpu": (time.process_time() - cpu) / count * 1000}


print(json.dumps({path: measured(path) for path in PATHS}))
