"""Learning early that the server is about to stop.

ASGI tells an application only when the last request has ended (lifespan, ``shutdown``). Whoever
balances load has to know before: from the signal on, this process is not the one to ask.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """Watches the signals that end a server, while inside ``with``; the server gets them as ever.

    Python delivers signals to the main thread only: elsewhere this notices nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._servers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # Others than functions end the process at once, or are not Python's.
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
