"""What is known of the server that runs the application."""

from __future__ import annotations

import sys


def parses_loosely() -> bool:
    """Whether requests come through uvicorn's own protocol on httptools (`docs/upstream.md`).

    That adds trailer fields to the headers, and takes the body of a request that offers an upgrade
    for further requests. No application can ask a server what it is; but uvicorn has imported the
    protocol that it uses by the time it starts the application, and ours imports its own.
    """
    return (
        "uvicorn.protocols.http.httptools_impl" in sys.modules
        and "gateway.protocol" not in sys.modules
    )
