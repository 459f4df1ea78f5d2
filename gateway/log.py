"""Where the gateway's own log goes when nobody has said so: to standard error, with the time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

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
