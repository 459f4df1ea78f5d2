"""The WSGI application."""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the status and headers that are asked for in JSON, or say what was asked."""
    wanted = json.loads(environ["wsgi.input"].read() or "{}")
    said = {"site": os.environ["SITE"], "host": environ["HTTP_HOST"]}
    headers = [(name, value) for name, value in wanted.get("headers", [])]
    start_response(wanted.get("status", "200 OK"), headers)
    return [json.dumps(said).encode()]
