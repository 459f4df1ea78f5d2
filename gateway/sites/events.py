"""What happens to the sites, as one stream that anybody may subscribe to.

The history and the log do so today; figures, notifications and a live page can. Who wanted
something travels along as its `Cause`.
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
    """What was wanted, ``load`` or ``reload``, and who wanted it, as the history tells it."""

    wanted: str
    asker: str


A_REQUEST: Final = Cause("load", "request")
"""A visitor came, and the site was not loaded."""


@dataclass(frozen=True, slots=True)
class FaultsChanged:
    """What is wrong with ``sites.json``; nothing any more, if there are no ``faults``."""

    faults: tuple[Fault, ...]


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
    """A generation came up and serves from now on; ``replaced`` is the one before, 0 for none."""

    generation: int
    cause: Cause
    seconds: float
    replaced: int


@dataclass(frozen=True, slots=True)
class Failed(SiteEvent):
    """A generation did not come up; the ``reason`` is masked."""

    generation: int
    cause: Cause
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Idled(SiteEvent):
    """A site is unloaded until its next request; ``why`` is ``idle`` or ``memory``."""

    generation: int
    why: str


@dataclass(frozen=True, slots=True)
class Unloaded(SiteEvent):
    """A generation has ended: its requests are over or were let go, its code was unloaded."""

    generation: int


@dataclass(frozen=True, slots=True)
class Removed(SiteEvent):
    """A site has left ``sites.json``; ``generation`` was its last."""

    generation: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class ModeChanged(SiteEvent):
    """Visitors are let in, held or turned away from now on, in this worker."""

    mode: str


Happening = FaultsChanged | SiteEvent
Subscriber = Callable[[Happening], None]


class Events:
    """The stream. Used on the event loop only."""

    def __init__(self) -> None:
        self._subscribers: dict[object, Subscriber] = {}

    def publish(self, event: Happening) -> None:
        """Tell every subscriber, in the order in which they came.

        One that raises stops neither what happens nor the others.
        """
        for subscriber in tuple(self._subscribers.values()):
            try:
                subscriber(event)
            except Exception:
                logger.exception("a subscriber to %s failed", type(event).__name__)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], object]:
        """Have every later event told; returns what ends that.

        A subscriber must return at once: it runs amid what happens. Who takes its time uses
        `stream`.
        """
        key = object()
        self._subscribers[key] = subscriber
        return partial(self._subscribers.pop, key, None)

    @contextmanager
    def stream(self, kept: int = KEPT) -> Iterator[Stream]:
        """Events for a reader that may be slow: the newest ``kept`` wait for it."""
        stream = Stream(kept)
        unsubscribe = self.subscribe(stream.put)
        try:
            yield stream
        finally:
            unsubscribe()


class Stream:
    """Events that wait for their reader, the oldest first. ``missed`` counts those that did not."""

    def __init__(self, kept: int) -> None:
        self.missed = 0
        self._events: deque[Happening] = deque(maxlen=kept)
        self._there = asyncio.Event()

    def put(self, event: Happening) -> None:
        """Keep an event; the oldest makes room."""
        self.missed += len(self._events) == self._events.maxlen
        self._events.append(event)
        self._there.set()

    async def __aiter__(self) -> AsyncIterator[Happening]:
        while True:
            while self._events:
                yield self._events.popleft()
            self._there.clear()
            await self._there.wait()
