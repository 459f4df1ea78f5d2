"""Find out which server runs the application."""

from __future__ import annotations

import sys


def parses_loosely() -> bool:
    """Tell whether requests come through uvicorn's own protocol on httptools.

    That protocol adds trailer fields to the headers, and takes the body of a request that offers an
    upgrade for further requests (``docs/upstream.md``). An application cannot ask a server what it
    is. But when uvicorn starts the application, it has already imported the protocol that it uses;
    and `gateway.protocol`, which has neither fault, imports uvicorn's as well.
    """
    return (
        "uvicorn.protocols.http.httptools_impl" in sys.modules
        and "gateway.protocol" not in sys.modules
    )
