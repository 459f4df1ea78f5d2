"""The gateway's own log, and the values that it adds to log records of sites."""

from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Final, TextIO

_LOWEST: Final = 10
"""The lowest number of a copy of a descriptor: shells and C libraries use those below."""
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s%(of_request)s"

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being served, else empty.

It is set for each task on the event loop, and for each request in the context of its thread.
"""
served_by: ContextVar[tuple[str, int]] = ContextVar("served_by", default=("", 0))
"""The name of the site and the number of the generation that serve the request."""


class RequestFilter(logging.Filter):
    """Add to each log record the request, the site and the generation that serves it.

    Formats can use ``%(request_id)s``, ``%(site)s``, ``%(generation)d`` and ``%(of_request)s``. The
    last one is the id in brackets with the word "request", or empty outside of requests.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the values to a record; let every record pass."""
        identity = request_id.get()
        site, generation = served_by.get()
        vars(record).update(
            request_id=identity,
            site=site,
            generation=generation,
            of_request=f" [request {identity}]" if identity else "",
        )
        return True


@contextlib.contextmanager
def visible() -> Iterator[None]:
    """Show log records of ``gateway`` from level INFO on during the block.

    That is needed because servers configure only their own loggers. If somebody has configured
    logging (with a handler on the root logger or on ``gateway``, as ``uvicorn --log-config`` does),
    that stays as it is. Formats of uvicorn's access log can use the values of `RequestFilter`.
    """
    logger = logging.getLogger("gateway")
    access = logging.getLogger("uvicorn.access")
    marks = RequestFilter()
    access.addFilter(marks)
    try:
        if logger.hasHandlers():
            yield
        else:
            with _shown(logger, marks):
                yield
    finally:
        access.removeFilter(marks)


@contextlib.contextmanager
def _shown(logger: logging.Logger, marks: logging.Filter) -> Iterator[None]:
    handler = logging.StreamHandler()
    handler.addFilter(marks)
    handler.setFormatter(logging.Formatter(_FORMAT))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(level or logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Write to copies of the descriptors 1 and 2 during the block, and log there as well.

    These numbers are the same for everybody: code of a site, or of C, may close them, and then the
    next connection of a visitor has one of them. Child processes go on inheriting them. Streams
    that somebody has replaced stay as they are.
    """
    with contextlib.ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stack.enter_context(_apart(name))
        yield


@contextlib.contextmanager
def _apart(name: str) -> Iterator[None]:
    stream = getattr(sys, name)
    copy = _copy(stream) if stream is getattr(sys, f"__{name}__") else None
    if copy is None:
        yield
        return
    setattr(sys, name, copy)
    _move_handlers(stream, copy)
    try:
        yield
    finally:
        # If it is closed or something else by now, nothing of ours may be written there.
        if _same_file(stream, copy):
            _move_handlers(copy, stream)
            if getattr(sys, name) is copy:
                setattr(sys, name, stream)
            with contextlib.suppress(OSError, ValueError):
                copy.close()


def _copy(stream: Any) -> TextIO | None:
    """Return a stream on a copy of the descriptor; ``None`` if there is nothing to copy."""
    try:
        stream.flush()
        number = fcntl.fcntl(stream.fileno(), fcntl.F_DUPFD_CLOEXEC, _LOWEST)
    except (AttributeError, OSError, ValueError):
        return None
    unbuffered = isinstance(stream.buffer, io.RawIOBase)
    return io.TextIOWrapper(
        open(number, "wb", 0 if unbuffered else -1),
        stream.encoding,
        stream.errors,
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _move_handlers(old: TextIO, new: TextIO) -> None:
    """Make each handler of a logger that writes to ``old`` write to ``new``."""
    known = list(logging.root.manager.loggerDict.values())
    for logger in [logging.root, *known]:
        for handler in getattr(logger, "handlers", ()):  # a placeholder has none
            if isinstance(handler, logging.StreamHandler) and handler.stream is old:
                try:
                    handler.setStream(new)
                except (OSError, ValueError):  # what was left cannot be written any more
                    handler.stream = new


def _same_file(stream: TextIO, copy: TextIO) -> bool:
    try:
        return os.path.sameopenfile(stream.fileno(), copy.fileno())
    except (OSError, ValueError):
        return False


def mark_records(logging_of_site: ModuleType, site: str, generation: int) -> None:
    """Add the name, the generation and the request of a site to each of its log records.

    Formats of the site can use ``%(site)s``, ``%(generation)d`` and ``%(request_id)s``.
    ``logging_of_site`` is the module ``logging`` of the site's namespace.
    """
    module: Any = logging_of_site
    make = module.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = make(*args, **kwargs)
        record.site = site
        record.generation = generation
        record.request_id = request_id.get()
        return record

    module.setLogRecordFactory(factory)


def timestamp(moment: float) -> str:
    """Return a time (seconds since the epoch) as ``/_health`` and others tell it: UTC, ISO 8601."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
