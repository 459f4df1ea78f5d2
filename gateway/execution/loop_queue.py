"""Calls from threads to the event loop, several of them for one wake-up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_FEW: Final = 8
"""The number of waiting calls that ends a rest."""


class LoopQueue:
    """A queue of calls: any thread may ``post`` one, and the event loop makes them in order.

    ``call_soon_threadsafe`` wakes the loop for each call. Here, the calls that are posted before
    the loop has made the first one share its wake-up; under load most calls do. While the loop
    *rests*, calls that can wait are collected until the rest ends.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._woken = False
        self._rests = False
        self._bell = threading.Event()

    def rest(self, seconds: float, worth: Callable[[], bool]) -> None:
        """Hold the loop, without the GIL, until `wake` or for ``seconds``; then make the calls.

        Called on the loop. ``worth`` tells whether there is still reason to rest. It is called
        when `wake` already has an effect, because a `wake` before that moment is lost.
        """
        self._bell.clear()
        self._rests = True
        if worth() and not self._calls:
            self._bell.wait(seconds)
        self._rests = False
        # A thread that saw the rest and did not end it had posted its call before: it is made now.
        self._deliver()

    def wake(self) -> None:
        """End a rest. May be called on any thread."""
        if self._rests:
            self._bell.set()

    def post(self, call: Callable[[], None], *, patient: bool = False) -> None:
        """Have the loop make ``call``, which must not raise. Nothing happens if the loop has ended.

        A ``patient`` call does not end a rest while fewer than eight calls wait.
        """
        self._calls.append(call)
        if self._rests:
            if not patient or len(self._calls) >= _FEW:
                self._bell.set()
            return
        # `_deliver` clears the flag before it looks at the calls. So if the flag is set here, the
        # call that was just added will be seen.
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
