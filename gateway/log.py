"""The gateway's own log, and what it adds to the records of sites."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s%(of_request)s"

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being served, or nothing.

Set for each task on the event loop, and for each request in the context of its thread.
"""
served_by: ContextVar[tuple[str, int]] = ContextVar("served_by", default=("", 0))
"""The site and the number of the generation that serve the request."""


class RequestFilter(logging.Filter):
    """Tells each record its request and who serves it.

    ``%(request_id)s``, ``%(site)s``, ``%(generation)d``; ``%(of_request)s`` is the id with words
    around.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add to the record; none is held back."""
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
    """Show records of ``gateway`` from INFO on during the block.

    Servers configure their own loggers only. Whoever has configured logging (a handler on the
    root logger or on ``gateway``, as with ``uvicorn --log-config``) is left alone; formats of
    uvicorn's access log can use what `RequestFilter` adds.
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


def mark_records(logging_of_site: ModuleType, site: str, generation: int) -> None:
    """Let each record of a site carry its name, generation and request, for formats to use.

    ``%(site)s``, ``%(generation)d`` and ``%(request_id)s``; ``logging_of_site`` is the module of
    its namespace.
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
