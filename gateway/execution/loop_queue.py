"""Calls from threads to the event loop, several of them for one wake-up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_FEW: Final = 8
"""Calls that may wait for the end of a rest."""


class LoopQueue:
    """``post`` may be called on any thread; what is posted is called on the event loop, in order.

    ``call_soon_threadsafe`` wakes the loop for each call. Here those that come before the loop got
    round to the first share its wake-up, which is what they do under load. While the loop *rests*,
    calls that can wait collect until it goes on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._woken = False
        self._rests = False
        self._bell = threading.Event()

    def rest(self, seconds: float, worth: Callable[[], bool]) -> None:
        """On the loop: hold it, without the GIL, until `wake` or for so long; then deliver.

        Only if it is ``worth`` it, asked when `wake` counts: what happened before may be missed.
        """
        self._bell.clear()
        self._rests = True
        if worth() and not self._calls:
            self._bell.wait(seconds)
        self._rests = False
        # Whoever saw it rest, and did not wake it, had posted before.
        self._deliver()

    def wake(self) -> None:
        """End a rest; from any thread."""
        if self._rests:
            self._bell.set()

    def post(self, call: Callable[[], None], *, patient: bool = False) -> None:
        """Have ``call``, which must not raise, called on the loop; not if the loop has ended.

        One that is patient does not end a rest, as long as there are few.
        """
        self._calls.append(call)
        if self._rests:
            if not patient or len(self._calls) >= _FEW:
                self._bell.set()
            return
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
