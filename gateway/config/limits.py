"""What one site may take of the machine, and how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a site. Times in seconds, sizes in bytes."""

    concurrency: int = 64
    """Requests that run at the same time."""
    queue_length: int = 1000
    """Requests that wait for their turn; the next is refused (503)."""
    queue_wait: float = 30.0
    """How long one waits before it is refused (503)."""
    request_timeout: float = 300.0
    """How long until the response begins, the waiting included (504); 0 for no limit."""
    max_body: int = 100 << 20
    """The size of a request's body (413)."""
    body_timeout: float = 30.0
    """How long until the next 16 KB of a request's body have come, or its end (408); 0 for no
    limit."""
    max_header: int | None = None
    """The size of a request's headers, names and values (431), if below that of the gateway."""
    load_timeout: float = 120.0
    """How long its code may take to load before that counts as failed."""
    probe_timeout: float = 10.0
    """How long a new generation may take to answer the probe."""
    drain_timeout: float = 30.0
    """How long a generation that was replaced has for the requests that it took."""
    pause_timeout: float = 30.0
    """How long a request waits at the gate of a site that is paused (503)."""
    idle_timeout: float = 0.0
    """How long the site may be without requests before it is unloaded; 0 for no limit."""
    max_survivors: int = 3
    """Unloaded generations still in memory from which on it is not reloaded; 0 for no limit."""


DEFAULTS: Final = Limits()
