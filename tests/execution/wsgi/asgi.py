"""An ASGI client that speaks to an application message by message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from gateway.config.limits import DEFAULTS, Limits
from gateway.execution.pool import Threads
from gateway.execution.wsgi import Bridge, Traffic
from gateway.execution.wsgi.body import Intake
from gateway.sites.reporting import Reporter

DEADLINE = 30.0
Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


@contextmanager
def bridge(
    app: Application,
    limits: Limits = DEFAULTS,
    *,
    threads: int = 4,
    intake: Intake | None = None,
) -> Iterator[Bridge]:
    """A bridge with threads of its own, which end afterwards."""
    with Traffic(threads, intake) as traffic:
        share = Threads(Reporter("shop", {}), traffic.pool)
        made = Bridge(app, share, traffic, limits)
        try:
            yield made
        finally:
            made.close()
            share.shutdown(wait=False)
            assert share.join(DEADLINE), "a thread was left behind"


class Client:
    """Sends the pieces of a body and notes what it is sent. Then it stays, or ``leaves``."""

    def __init__(self, *pieces: bytes, leaves: bool = False) -> None:
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        last = len(pieces) - 1
        self._messages = [
            {"type": "http.request", "body": piece, "more_body": leaves or index < last}
            for index, piece in enumerate(pieces or (b"",))
        ]
        if leaves:
            self.left.set()

    async def receive(self) -> Message:
        if self._messages:
            return self._messages.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def ask(self, app: ASGIApp, method: str = "GET", **changes: Any) -> Client:
        await app(scope(method, **changes), self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def complete(self) -> bool:
        last = self.sent[-1] if self.sent else {}
        return last.get("type") == "http.response.body" and not last.get("more_body", False)


def scope(method: str = "GET", **changes: Any) -> Scope:
    """A scope; ``headers`` are pairs of strings, ``chunked`` adds a Transfer-Encoding."""
    headers = [("host", "shop.localhost"), *changes.pop("headers", ())]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "server": ("127.0.0.1", 8000),
        "client": ("192.0.2.1", 4711),
        **changes,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }


CHUNKED = [("transfer-encoding", "chunked")]
