"""Calls from threads to the event loop, several of them for one wake-up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable


class Mailbox:
    """``post`` may be called on any thread; what is posted is called on the event loop, in order.

    ``call_soon_threadsafe`` wakes the loop for each call. Here those that come before the loop got
    round to the first share its wake-up, which is what they do under load.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._woken = False

    def post(self, call: Callable[[], None]) -> None:
        """Have ``call``, which must not raise, called on the loop; not if the loop has ended."""
        self._calls.append(call)
        # Deliver clears the flag before it looks: whoever finds it set, has been seen in time.
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        for _ in range(len(self._calls)):
            self._calls.popleft()()
        if self._calls and not self._woken:
            self._woken = True
            self.loop.call_soon(self._deliver)
