"""Calls the WSGI application in a loop, in a namespace; see ``floor.py``. Prints JSON."""

from __future__ import annotations

import io
import json
import sys
import time
from typing import Any

import core.wsgi

SECONDS = float(sys.argv[1])
PATHS = sys.argv[2:]


def ask(path: str) -> None:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SERVER_NAME": "site0.localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "site0.localhost",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
    }
    response = core.wsgi.application(environ, lambda *_: None)
    b"".join(response)
    response.close()


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
