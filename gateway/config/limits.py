"""The limits of one site: how much of the machine it may use, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a site. Times are in seconds, sizes in bytes.

    A status in brackets is the answer to a request beyond the limit. A *generation* is the code of
    a site as it was loaded once.
    """

    concurrency: int = 64
    """The most requests that run at the same time."""
    queue_length: int = 1000
    """The most requests that wait for their turn (503)."""
    queue_wait: float = 30.0
    """The longest time that a request waits for its turn (503)."""
    request_timeout: float = 300.0
    """The longest time until the response begins, with the waiting (504); 0 for no limit."""
    max_body: int = 100 << 20
    """The largest body of a request (413)."""
    body_timeout: float = 30.0
    """The longest time until the next 16 KB of a body, or its end, arrive (408); 0 for no limit."""
    send_timeout: float = 60.0
    """The longest time for which a client may take nothing of what waits for it; 0 for no limit."""
    max_header: int | None = None
    """The most bytes of a request's headers, names and values (431). The gateway's limit for the
    whole head holds too."""
    load_timeout: float = 120.0
    """The longest time that the code may take to load."""
    probe_timeout: float = 10.0
    """The longest time that a new generation may take to answer the probe."""
    drain_timeout: float = 30.0
    """The time that a replaced generation has to finish the requests that it took."""
    pause_timeout: float = 30.0
    """The longest time that a request waits while the site is paused (503)."""
    idle_timeout: float = 0.0
    """The time without requests after which the site is unloaded; 0 for no limit."""
    max_survivors: int = 3
    """The number of unloaded generations still in memory at which the site is not reloaded any
    more; 0 for no limit."""


DEFAULTS: Final = Limits()
