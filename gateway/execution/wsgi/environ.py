"""The WSGI environ of an ASGI scope (PEP 3333, RFC 3875)."""

from __future__ import annotations

import functools
from typing import IO, Any, Final, TextIO
from urllib.parse import unquote_to_bytes
from wsgiref.util import FileWrapper

from a2wsgi.wsgi_typing import Environ
from starlette.types import Scope

_BLOCK: Final = 65536
# Headers that have a variable of their own, and one that described how the body is sent: the body
# is complete by now, so it says nothing any more.
_NOT_HTTP: Final = {
    b"content-type": "CONTENT_TYPE",
    b"content-length": "CONTENT_LENGTH",
    b"transfer-encoding": None,
}


class Blocks(FileWrapper):
    """``wsgi.file_wrapper`` (PEP 3333): a file in blocks, of 64 KiB if a smaller size is wanted."""

    def __init__(self, filelike: IO[bytes], blksize: int = _BLOCK) -> None:
        super().__init__(filelike, max(blksize, _BLOCK))


def build_environ(scope: Scope, body: IO[bytes], length: int | None, errors: TextIO) -> Environ:
    """Return the environ of a request with its ``body``, of ``length`` bytes (``None``: no body).

    ``errors`` is where the application writes its errors.

    It differs from a2wsgi's in four points. ``SCRIPT_NAME`` comes from ``root_path`` alone, and is
    cut from the path only where a segment ends. ``PATH_INFO`` is decoded from ``raw_path``, so that
    bytes that are not UTF-8 arrive, too. Several Cookie headers are joined with ``; `` (RFC 9113,
    section 8.2.3). The scope is not handed on. `gateway.front.head` has dropped the headers whose
    names WSGI could not tell from others.
    """
    script_name, path_info = _paths(scope)
    server, port = scope.get("server") or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server,
        "SERVER_PORT": str(port or 0),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": errors,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": Blocks,
    }
    if client := scope.get("client"):
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    for name, value in scope["headers"]:
        if (key := _variable(name)) is None:
            continue
        text = value.decode("latin-1")
        if key in environ:
            text = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + text
        environ[key] = text
    if length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    return environ  # type: ignore[return-value]


@functools.lru_cache(1024)
def _variable(name: bytes) -> str | None:
    """Return the name of the variable of a header (RFC 3875, section 4.1.18), if it has one."""
    if name in _NOT_HTTP:
        return _NOT_HTTP[name]
    return "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


def _paths(scope: Scope) -> tuple[str, str]:
    """Return ``SCRIPT_NAME`` and ``PATH_INFO``: the decoded bytes as Latin-1 (PEP 3333)."""
    raw = scope.get("raw_path")
    path = scope["path"].encode() if raw is None else raw
    if raw is not None and b"%" in raw:
        path = unquote_to_bytes(raw)
    root = scope.get("root_path", "").rstrip("/").encode()
    if not root:
        return "", path.decode("latin-1")
    # Servers differ in whether raw_path includes root_path; path does (ASGI, HTTP scope).
    if path == root or path.startswith(root + b"/"):
        path = path[len(root) :]
    return root.decode("latin-1"), path.decode("latin-1")
