"""What the Django of a site does with the request of a probe: it tells errors, and mails nobody.

Django turns the exception of a view into a page, so that the probe sees only its status.
"""

from __future__ import annotations

import sys
from logging import LogRecord
from typing import Any

from gateway.errors import told
from gateway.log import request_id
from gateway.namespace import Namespace
from gateway.sites.probe import PROBE, PROBE_ID


def attend(namespace: Namespace) -> None:
    """Tell probes of the exceptions of views, and keep the mails to ``ADMINS`` to other requests.

    Does nothing for a site without Django.
    """
    signals: Any = namespace.modules.get("django.core.signals")
    if signals is not None:
        signals.got_request_exception.connect(_tell, weak=False, dispatch_uid=PROBE)
    log: Any = namespace.modules.get("django.utils.log")
    if log is not None:
        _filter(log.AdminEmailHandler)


def _tell(sender: object, request: Any = None, **_: object) -> None:
    """Tell the probe of the exception that is handled; a receiver of ``got_request_exception``.

    The texts are made here, on the thread of the view, because that runs code of the site.
    """
    heard, error = getattr(request, "META", {}).get(PROBE), sys.exception()
    if heard is not None and error is not None:
        words = told(error)
        heard.reason, heard.traceback = words.reason, words.traceback


def _filter(handlers: Any) -> None:
    """Have the handlers of a class take no record that is made by the request of a probe.

    This is done to the class, because the configuration of ``logging`` forgets handlers that
    loggers still have, and others may be made later.
    """
    passes = handlers.filter

    def filter(handler: Any, record: LogRecord) -> Any:
        return not request_id.get().startswith(PROBE_ID) and passes(handler, record)

    handlers.filter = filter
