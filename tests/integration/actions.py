"""What visitors, developers and operators do in the tests."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import httpx

from .servers import Gateway
from .sites import BuiltSite
from .waiting import PATIENCE, until


def front(gateway: Gateway, site: BuiltSite) -> httpx.Response:
    """Look at the front page of a site."""
    return gateway.client(site.host).get("/")


def reload(gateway: Gateway, site: BuiltSite | None = None) -> httpx.Response:
    """Reload one site, as a deploy script does, or all."""
    return gateway.operator().post("/_reload", params={"site": site.name} if site else {})


def ask(gateway: Gateway, host: str, line: str) -> socket.socket:
    """Send a request with the token, and return the connection without waiting for the answer.

    ``line`` is its method and path.
    """
    head = (
        f"{line} HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        f"Authorization: Bearer {gateway.token}\r\n"
        "Connection: close\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE)
    connection.sendall(head.encode())
    return connection


def append(site: BuiltSite, file: str, text: str) -> Callable[[], None]:
    """Put something at the end of one of the project's files; returns what takes it back."""
    path = site.folder / file
    before = path.read_text()
    path.write_text(before + text)

    def restore() -> None:
        path.write_text(before)

    return restore


def open_gate(gate: Path) -> None:
    """Let the site that waits at its gate go on; waits until it does wait."""

    def opened() -> bool:
        try:
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            # Nobody has the other end yet; see fifo(7).
            assert error.errno == errno.ENXIO, error
            return False
        return True

    until(opened, "the site waits at its gate")
