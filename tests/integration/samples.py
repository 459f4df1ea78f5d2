"""The request samples of gunicorn's own tests: what clients, scanners and attackers send.

Nobody here wrote them. They come from gunicorn's source distribution and are never committed.
"""

from __future__ import annotations

import ast
import asyncio
import re
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .cache import cached
from .programs import run

GUNICORN: Final = "27.0.1"
_ESCAPE: Final = re.compile(rb"\\(r|n|t|0|x[0-9A-Fa-f]{2})")
_PLAIN: Final = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_QUIET: Final = 1.5
"""Seconds without a further byte after which a client has seen everything."""


@dataclass(frozen=True)
class Sample:
    """``requests`` is how many valid ones gunicorn sees in it, 0 if it refuses it."""

    name: str
    data: bytes
    requests: int


@dataclass(frozen=True)
class Outcome:
    """What came back: the statuses, and all of it."""

    statuses: tuple[int, ...]
    text: str


def samples(host: str) -> list[Sample]:
    """All of them. Requests without a ``Host``, which are most, get ``host``."""
    folder = cached("gunicorn-samples", [GUNICORN], _download)
    return [
        Sample(
            f"{file.parent.name}/{file.stem}",
            _with_host(_unescaped(file.read_bytes()), host),
            _count(file.with_suffix(".py")) if file.parent.name == "valid" else 0,
        )
        for file in sorted(folder.glob("*/*.http"))
    ]


def send_all(port: int, given: Iterable[Sample]) -> dict[str, Outcome]:
    """Send every sample on a connection of its own."""

    async def send() -> dict[str, Outcome]:
        tasks = {sample.name: asyncio.ensure_future(_send(port, sample)) for sample in given}
        return {name: await task for name, task in tasks.items()}

    return asyncio.run(send())


async def _send(port: int, sample: Sample) -> Outcome:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(sample.data)
        while part := await asyncio.wait_for(reader.read(65536), _QUIET):
            answer += part
    except (TimeoutError, ConnectionError):
        # Kept open for more, or for the rest; or closed on what was sent too much.
        pass
    finally:
        writer.close()
    statuses = tuple(int(status) for status in _STATUS.findall(answer))
    return Outcome(statuses, answer.decode("latin-1"))


def _download(draft: Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    options = ["--no-deps", "--no-binary", "gunicorn"]
    run([*command, *options, "--dest", draft, f"gunicorn=={GUNICORN}"], folder=draft)
    (archive,) = draft.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        for member in source.getmembers():
            path = Path(member.name)
            if path.parts[1:3] == ("tests", "requests") and member.isfile():
                file = source.extractfile(member)
                assert file is not None
                target = draft.joinpath(*path.parts[3:])
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(file.read())
    archive.unlink()


def _unescaped(text: bytes) -> bytes:
    """What a sample stands for: line ends in the file count for nothing, escapes do."""

    def byte(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return _PLAIN.get(code) or bytes([int(code[1:], 16)])

    return _ESCAPE.sub(byte, text.replace(b"\n", b""))


def _with_host(data: bytes, host: str) -> bytes:
    """The same with a ``Host`` after each request line that has none before the empty line."""
    line, separator, rest = data.partition(b"\r\n")
    if not separator or re.search(rb"^host *:", data, re.IGNORECASE | re.MULTILINE):
        return data
    return line + b"\r\nHost: " + host.encode() + b"\r\n" + rest


def _count(expectation: Path) -> int:
    """How many requests gunicorn expects to see: ``request = {…}`` or a list of them."""
    for node in ast.parse(expectation.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "request":
            return len(node.value.elts) if isinstance(node.value, ast.List) else 1
    raise AssertionError(f"{expectation} expects nothing")
