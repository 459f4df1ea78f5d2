"""The gateway's own log, and what it adds to the records of sites."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from types import ModuleType
from typing import Any

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextlib.contextmanager
def visible() -> Iterator[None]:
    """Show records of ``gateway`` from INFO on during the block.

    Servers configure their own loggers only. Whoever has configured logging (a handler on the
    root logger or on ``gateway``, as with ``uvicorn --log-config``) is left alone.
    """
    logger = logging.getLogger("gateway")
    if logger.hasHandlers():
        yield
        return
    handler = logging.StreamHandler()
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
    """Let each record of a site carry its name and generation, for formats to use.

    ``%(site)s`` and ``%(generation)d``; ``logging_of_site`` is the module of its namespace.
    """
    module: Any = logging_of_site
    make = module.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = make(*args, **kwargs)
        record.site = site
        record.generation = generation
        return record

    module.setLogRecordFactory(factory)
