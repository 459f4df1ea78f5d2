"""The probe: a request to new code, before it takes over from code that works.

An import finds syntax errors and missing packages. A missing template, a wrong setting and a
missing column show only in the first request. A reload makes this request itself, so that no
visitor gets the error.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

from gateway.config import SiteConfig
from gateway.errors import LoadError, told

PROBE: Final = "gateway.probe"
"""The ASGI extension that marks the request of a probe: it waits for no place."""
_BAD: Final = 500
_LABEL: Final = "gateway-probe"
"""This replaces the ``*`` in the host of the probe if a site has wildcards only."""


async def probe(app: ASGIApp, config: SiteConfig) -> None:
    """Ask new code for the ``probe`` path of its site; raises `LoadError` if it does not pass.

    The code passes with any status below 500 within ``probe_timeout``. A redirect, a login form and
    also a 404 show that it works.
    """
    if config.probe is None:
        return
    question = _Question(config.probe_host or _host_of(config), config.probe)
    timeout = config.limits.probe_timeout
    asking = asyncio.create_task(question.put_to(app), name=f"probe {config.name}")
    either: set[asyncio.Future[Any]] = {asking, question.answered}
    try:
        await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if asking.done() and (error := asking.exception()) is not None:
            words = told(error)
            raise LoadError(f"the probe {question} failed: {words.reason}", words.traceback)
        if not question.answered.done():
            what = "ended without an answer" if asking.done() else f"took over {timeout:g} s"
            raise LoadError(f"the probe {question} {what}")
        if (status := question.answered.result()) >= _BAD:
            raise LoadError(f"the probe {question} was answered {status}")
    finally:
        # The rest of a page is of no interest, and a stream may have no end.
        asking.cancel()
        await asyncio.wait({asking})
        if not asking.cancelled():
            asking.exception()  # else asyncio would log it with its secrets


class _Question:
    """One request without a client, as the gateway hands requests to sites (ASGI)."""

    def __init__(self, host: str, path: str) -> None:
        self.host = host
        self.path = path
        self.answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked = False

    def __str__(self) -> str:
        return f"GET {self.path}"

    async def put_to(self, app: ASGIApp) -> None:
        path, _, query = self.path.partition("?")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [(b"host", self.host.encode("ascii")), (b"user-agent", _LABEL.encode())],
            "client": ("127.0.0.1", 0),
            "server": (self.host, 80),
            "extensions": {PROBE: {}},
        }
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        # This client never leaves by itself.
        departure: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await departure

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self.answered.done():
            self.answered.set_result(message["status"])


def _host_of(config: SiteConfig) -> str:
    exact = [host for host in config.hosts if not host.startswith("*.")]
    return exact[0] if exact else _LABEL + config.hosts[0].removeprefix("*")
