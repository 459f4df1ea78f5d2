"""The pages of the project."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse

LINES = b"and so on\n" * 6554


def echo(request: HttpRequest) -> HttpResponse:
    """What Django knows of the request."""
    return JsonResponse(
        {
            "site": os.environ["SITE"],
            "method": request.method,
            "path": request.get_full_path(),
            "host": request.get_host(),
            "port": request.get_port(),
            "secure": request.is_secure(),
            "client": request.META["REMOTE_ADDR"],
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "size": len(request.body),
            "sha256": hashlib.sha256(request.body).hexdigest(),
        }
    )


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """32 MB."""
    return StreamingHttpResponse((LINES for _ in range(512)), content_type="text/plain")


def endless(request: HttpRequest) -> StreamingHttpResponse:
    """No buffer holds it. The file ``closed`` of the project has a line for each that is over."""

    def lines() -> Iterator[bytes]:
        try:
            while True:
                yield LINES
        finally:
            with (Path(__file__).parents[1] / "closed").open("a") as file:
                file.write("closed\n")

    return StreamingHttpResponse(lines(), content_type="text/plain")
