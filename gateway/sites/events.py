"""The stream of events: everything that happens to the sites is published here.

Anybody may subscribe. The history does; figures, notifications and a live page can. An event that
somebody caused carries its `Cause`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.errors import Fault

logger = logging.getLogger("gateway.events")

KEPT: Final = 1000
"""Events that a `Stream` keeps for a reader that is behind."""


@dataclass(frozen=True, slots=True)
class Cause:
    """The wish behind an event (``load``, ``reload``, ``unload`` or ``mode``), and who had it.

    The history shows both as they stand here.
    """

    wanted: str
    asker: str


A_REQUEST: Final = Cause("load", "request")
"""A visitor came, and the site was not loaded."""
THE_START: Final = Cause("load", "start")
"""The gateway has started."""
THE_STOP: Final = Cause("unload", "stop")
"""The gateway stops."""
IDLENESS: Final = Cause("unload", "idle")
"""Nobody has used the site for its ``idle_timeout``."""
THE_BUDGET: Final = Cause("unload", "memory")
"""The process needs memory, and this site was used least recently."""


@dataclass(frozen=True, slots=True)
class FaultsChanged:
    """The faults of ``sites.json`` have changed; without ``faults``, the file is right again."""

    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """What a worker process has left behind about its end, which nobody asked for.

    ``how`` it was: a signal or a call. ``site`` is whose code did it, empty if that is not known,
    and ``generation`` which of its code, amid its load if ``loading``. ``request`` and ``stack``
    are masked, and empty if not known.
    """

    how: str
    site: str = ""
    generation: int = 0
    loading: bool = False
    request: str = ""
    stack: str = ""

    def __str__(self) -> str:
        if not self.site:
            return f"{self.how} in a thread of unknown site"
        amid = (
            " while it loaded" if self.loading else f", at {self.request}" if self.request else ""
        )
        return f"{self.how} in the code of site {self.site}, generation {self.generation}{amid}"


@dataclass(frozen=True, slots=True)
class Crashed:
    """A worker process has ended without a word: it was killed, or it crashed.

    One of the other workers publishes this, once. ``seen`` is when the worker reported last, in
    seconds since the epoch; ``loaded`` and ``loading`` are the sites that had and were getting
    code then. ``ending`` is ``None`` if it has left nothing behind, as when it was killed.
    """

    worker: str
    pid: int
    seen: float
    loaded: tuple[str, ...]
    loading: tuple[str, ...]
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class SiteEvent:
    """Something that has happened to one site."""

    site: str


@dataclass(frozen=True, slots=True)
class Loading(SiteEvent):
    """A generation is about to be loaded; the first line of its code has not run yet."""

    generation: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Loaded(SiteEvent):
    """A generation came up and serves from now on.

    The ``warning`` is why it did not pass its probe; the code that it replaced did not, either. It
    is masked.
    """

    generation: int
    cause: Cause
    seconds: float
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Failed(SiteEvent):
    """A generation did not come up; the ``reason`` is masked."""

    generation: int
    cause: Cause
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Swapped(SiteEvent):
    """A generation that was `Loaded` has taken the place of generation ``replaced``."""

    generation: int
    cause: Cause
    replaced: int


@dataclass(frozen=True, slots=True)
class Idled(SiteEvent):
    """A site is unloaded until its next request; the cause is `IDLENESS` or `THE_BUDGET`."""

    generation: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Unloaded(SiteEvent):
    """A generation has ended: no request of it is waited for, and its code was unloaded."""

    generation: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Survived(SiteEvent):
    """A generation is still in memory some time after its unload.

    The ``cause`` is that of the unload, or of the load if the generation never came up. The
    ``holder`` is what keeps it alive, as far as is known, and is masked.
    """

    generation: int
    cause: Cause
    holder: str


@dataclass(frozen=True, slots=True)
class Removed(SiteEvent):
    """A site has left ``sites.json``; ``generation`` was its last."""

    generation: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class ModeChanged(SiteEvent):
    """This worker lets visitors in, holds them or turns them away from now on."""

    mode: str
    cause: Cause


Happening = FaultsChanged | Crashed | SiteEvent
Subscriber = Callable[[Happening], None]


class Events:
    """The stream. Used on the event loop only."""

    def __init__(self) -> None:
        self._subscribers: dict[object, Subscriber] = {}

    def publish(self, event: Happening) -> None:
        """Call every subscriber with an event, in the order in which they subscribed.

        A subscriber that raises stops neither its publisher nor the others.
        """
        for subscriber in tuple(self._subscribers.values()):
            try:
                subscriber(event)
            except Exception:
                logger.exception("a subscriber to %s failed", type(event).__name__)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], object]:
        """Call ``subscriber`` with every later event; return a function that ends this.

        A subscriber must return at once, because its publisher waits for it. A reader that takes
        its time uses `stream`.
        """
        key = object()
        self._subscribers[key] = subscriber
        return partial(self._subscribers.pop, key, None)

    @contextmanager
    def stream(self, kept: int = KEPT) -> Iterator[Stream]:
        """Collect events for a reader that may be slow: the newest ``kept`` wait for it."""
        stream = Stream(kept)
        unsubscribe = self.subscribe(stream.put)
        try:
            yield stream
        finally:
            unsubscribe()


class Stream:
    """Events that wait for their reader, the oldest first; ``missed`` counts those it lost."""

    def __init__(self, kept: int) -> None:
        self.missed = 0
        self._events: deque[Happening] = deque(maxlen=kept)
        self._there = asyncio.Event()

    def put(self, event: Happening) -> None:
        """Keep an event; if the stream is full, it loses its oldest one."""
        self.missed += len(self._events) == self._events.maxlen
        self._events.append(event)
        self._there.set()

    async def __aiter__(self) -> AsyncIterator[Happening]:
        while True:
            while self._events:
                yield self._events.popleft()
            self._there.clear()
            await self._there.wait()
