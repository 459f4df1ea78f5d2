"""Notice early that the server is about to stop.

ASGI tells an application only after the last request has ended (lifespan, ``shutdown``). A load
balancer has to know earlier: from the signal on, it should not send requests to this process.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """A watch for the signals that end a server, inside ``with``. The server still gets them.

    ``asked`` is true after such a signal. Python delivers signals to the main thread only; on
    another thread this notices nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._servers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # A handler that is not a function ends the process at once, or is not Python's.
                if callable(handler := signal.getsignal(number)):
                    self._servers[number] = handler
                    signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._servers.items():
            if signal.getsignal(number) == self._heard:
                signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._servers[number](number, frame)
