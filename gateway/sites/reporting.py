"""Reporting about a site, in the log and elsewhere, without its secrets.

Every text that comes from the code of a site may hold its secrets: exceptions, stacks, names of
threads and of files. A module that handles such texts has no logger of its own. It gets one from
the `Reporter` of the site.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from gateway.errors import traceback_of
from gateway.sites.masking import Mask


class Reporter:
    """Reports about one loading of a site. ``mask`` takes the secrets of ``env`` out of a text."""

    def __init__(self, site: str, env: Mapping[str, str]) -> None:
        self.site = site
        self.mask = Mask(env)

    def logger(self, name: str) -> SiteLogger:
        """Return the logger ``name`` for messages about this site."""
        return SiteLogger(logging.getLogger(name), self)

    def attend(self, warnings: ModuleType, threading: ModuleType) -> None:
        """Mask the warnings of the site's code, and the exceptions that end one of its threads.

        Python itself shows these two. Both modules are those of the site's namespace. Code that
        replaces ``formatwarning`` or ``excepthook`` shows them in its own way.
        """
        modules: tuple[Any, Any] = (warnings, threading)
        format_warning, log = modules[0].formatwarning, self.logger("gateway.threads")

        def formatwarning(*args: Any, **kwargs: Any) -> str:
            return self.mask(format_warning(*args, **kwargs))

        def excepthook(args: Any) -> None:
            if args.exc_type is not SystemExit:
                name = args.thread.name if args.thread is not None else ""
                log.error('an exception ended the thread "%s"', name, exc_info=args.exc_value)

        modules[0].formatwarning, modules[1].excepthook = formatwarning, excepthook


class SiteLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records begin with the name of the site and hold none of its secrets.

    A record is one text. It has neither arguments nor an exception, because handlers would show
    these unmasked.
    """

    def __init__(self, logger: logging.Logger, reporter: Reporter) -> None:
        super().__init__(logger, {})
        self._reporter = reporter

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a message; ``exc_info`` is an exception, or true for the current one."""
        if not self.isEnabledFor(level):
            return
        text = str(msg) % args if args else str(msg)
        error = kwargs.pop("exc_info", None)
        if error is True:
            error = sys.exception()
        if isinstance(error, BaseException):
            text = f"{text}\n{traceback_of(error).rstrip()}"
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        self.logger.log(level, "%s: %s", self._reporter.site, self._reporter.mask(text), **kwargs)
