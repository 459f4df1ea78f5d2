"""The bridge from ASGI to the WSGI application of a site, on a2wsgi.

A request passes four steps: the event loop takes in its body (`body`), the governor says when it
may run, the application runs on a thread of the pool (`response`), and its answer crosses back to
the event loop (`bridge`). A client that is slow to send or to read holds no thread.
"""

from gateway.execution.wsgi.bridge import Bridge
from gateway.execution.wsgi.response import request_here
from gateway.execution.wsgi.traffic import Traffic

__all__ = ["Bridge", "Traffic", "request_here"]
