"""Projects of one file, and what they answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from textwrap import dedent

from starlette.types import Message, Scope

from gateway.backends.inprocess import InProcessCode
from gateway.config import SiteConfig


def project(folder: Path, source: str, **environ: str) -> SiteConfig:
    """A project whose ``app.py`` is ``source``."""
    (folder / "app.py").write_text(dedent(source))
    return SiteConfig(
        name="shop",
        hosts=("shop.localhost",),
        path=folder,
        wsgi="app:application",
        env=environ,
        env_file=None,
        venv=None,
        preload=False,
    )


async def ask(generation: InProcessCode) -> bytes:
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [],
    }
    sent: list[Message] = []

    body: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if body:
            return body.pop()
        await asyncio.Event().wait()  # the client stays
        raise AssertionError("nothing ends the wait")

    async def send(message: Message) -> None:
        sent.append(message)

    await generation(scope, receive, send)
    return b"".join(message.get("body", b"") for message in sent)
