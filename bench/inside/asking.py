"""A request to the WSGI application of the project, without a server."""

from __future__ import annotations

import io
import sys
from typing import Any

import core.wsgi


def ask(path: str) -> str:
    """Have it answer, and throw the answer away, but for its status."""
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
    statuses: list[str] = []
    response = core.wsgi.application(environ, lambda status, *_: statuses.append(status))
    b"".join(response)
    response.close()
    return statuses[0]
