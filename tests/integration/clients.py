"""Talking to servers on this machine as browsers, scripts and attackers do."""

from __future__ import annotations

import re
import socket
from typing import Final

import httpx

_TIMEOUT: Final = 90.0
_CSRF_FIELD: Final = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class LocalTransport(httpx.HTTPTransport):
    """Finds every host on one port of this machine, as a browser does below ``.localhost``."""

    def __init__(self, port: int) -> None:
        # There is no TLS here, and reading all the world's certificates takes its time.
        super().__init__(verify=False)
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, with the ``Host`` header that its URL gave it."""
        return super().handle_request(
            httpx.Request(
                request.method,
                request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        )


def client_for(host: str, port: int, headers: dict[str, str] | None = None) -> httpx.Client:
    """A client for one host, with cookies of its own."""
    return httpx.Client(
        base_url=f"http://{host}",
        transport=LocalTransport(port),
        headers=headers,
        timeout=_TIMEOUT,
        # What the machine is set up with, proxies above all, has no say here.
        trust_env=False,
    )


def csrf_token(page: httpx.Response) -> str:
    """The token in the first form of a page."""
    match = _CSRF_FIELD.search(page.text)
    assert match, f"no form with a CSRF token in {page.url}:\n{page.text[:2000]}"
    return match[1]


def submit(
    client: httpx.Client,
    url: str,
    fields: dict[str, str],
    *,
    files: dict[str, tuple[str, bytes, str]] | None = None,
    form: str | None = None,
) -> httpx.Response:
    """Open the page that has the form, fill it in, send it to ``url``, and follow the answer.

    ``form`` is the address of that page, if it is not the ``url`` itself.
    """
    page = client.get(form or url)
    assert page.status_code == 200, f"{page.url} answered {page.status_code}:\n{page.text[:2000]}"
    data = {"csrfmiddlewaretoken": csrf_token(page), **fields}
    return client.post(url, data=data, files=files, follow_redirects=True)


def raw_request(port: int, head: str) -> str:
    """Send ``head`` byte for byte (``\\n`` becomes CR LF), and return the answer as it stands."""
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return answer.decode("latin-1")


def converse(port: int, sent: bytes) -> bytes:
    """Send some bytes and stay; returns everything that comes until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))
