"""Loads that may end their process: marked in the store, and tried by one worker at a time.

A load of a site can end the process: `os._exit`, a segmentation fault, too much memory. So each
load is marked in the store before any code runs (`gateway.cluster.store.marks`), and the marks of a
worker that has died make suspects. There are three rules.

- Code that no running worker has had up is loaded by one worker first, whoever wants it. The others
  wait until that has ended.
- A suspect is loaded by one worker, and alone: other loads of that worker wait meanwhile. Nothing
  loads it before somebody asks for it, so a worker that starts comes to serve in any case.
- Code that ended a worker when it was loaded alone is refused, until it changes or an operator asks
  for the site by its name.

Code is told apart by its entry in ``sites.json`` and the ``.py`` files in its folder. If the store
does not work, loads are neither marked nor refused, and `Loads.trouble` says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, NamedTuple, TypeVar

from gateway.cluster.store import Store, StoreError
from gateway.cluster.store.marks import Answer, Mark, Outcome, Suspect, Verdict
from gateway.cluster.store.thread import StoreThread
from gateway.config import SiteConfig
from gateway.errors import LoadError
from gateway.execution.errands import on_daemon_thread
from gateway.sites.loads import Begin
from gateway.sites.sources import Sources, Tree

logger = logging.getLogger("gateway.loads")

T = TypeVar("T")

POLL_INTERVAL: Final = 0.2
"""Seconds between two questions whether a load that has to wait may begin."""


class Suspects(NamedTuple):
    """The sites that are to be loaded alone, and those whose code is not to be loaded."""

    suspected: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()


class Loads:
    """The loads of one worker. It implements `gateway.sites.loads.Loads`, on the event loop."""

    def __init__(self, store_thread: StoreThread, worker: str) -> None:
        self.trouble: str | None = None
        """The reason why loads are not marked at the moment, or ``None``."""
        self._store_thread = store_thread
        self._worker = worker
        self._numbers = itertools.count(1)
        self._places = _Places()
        self._ended: dict[str, Outcome] = {}
        """The marks that have to be taken off, by their keys."""

    @asynccontextmanager
    async def claim(
        self, config: SiteConfig, number: int, sources: Sources | None
    ) -> AsyncIterator[Begin]:
        """See `gateway.sites.loads.Loads`."""
        code = await _read(config, _code_of)
        key = f"{self._worker} {next(self._numbers)}"
        mark = Mark(key, config.name, code, self._worker, number)
        alone = False
        while True:
            async with self._places.one(alone=alone):
                verdict = await self._claimed(mark, alone=alone)
                if verdict.answer is Answer.GO:
                    async with self._marked(mark, verdict.suspect) as begin:
                        yield begin
                    return
            if verdict.answer is Answer.NEVER:
                assert verdict.suspect is not None
                if sources is not None:
                    await _read(config, partial(_watch, sources))
                raise LoadError(_refusal(verdict.suspect))
            if verdict.answer is Answer.WAIT:
                await asyncio.sleep(POLL_INTERVAL)
            alone = verdict.suspect is not None

    async def suspects(self) -> Suspects:
        """Return the sites under suspicion; none if the store does not work."""
        found = await self._ask(lambda store: store.marks.suspects()) or []
        return Suspects(
            frozenset(suspect.site for suspect in found if not suspect.alone),
            frozenset(suspect.site for suspect in found if suspect.alone),
        )

    async def pardon(self, sites: Collection[str]) -> None:
        """Let sites be loaded, alone, whose code is refused; an operator asks for that."""
        await self._ask(lambda store: store.marks.pardon(sites))

    def store_works(self) -> None:
        """Take the marks off that could not be taken off before: the store has just answered."""
        self.trouble = None
        self._settle()

    def _settle(self) -> None:
        if self._ended:
            ended = dict(self._ended)
            told = self._store_thread.tell(partial(_end, ended=ended))
            loop = asyncio.get_running_loop()

            def done(told: Future[None]) -> None:
                if told.exception() is None:
                    with suppress(RuntimeError):  # the gateway has ended
                        loop.call_soon_threadsafe(self._settled, ended)

            told.add_done_callback(done)

    def _settled(self, ended: Collection[str]) -> None:
        for key in ended:
            self._ended.pop(key, None)

    async def _claimed(self, mark: Mark, *, alone: bool) -> Verdict:
        try:
            verdict = await self._ask(lambda store: store.marks.claim(mark, alone=alone))
        except asyncio.CancelledError:
            # The thread may carry the question out all the same.
            self._end(mark, Outcome.LEFT)
            raise
        return verdict or Verdict(Answer.GO)

    @asynccontextmanager
    async def _marked(self, mark: Mark, suspect: Suspect | None) -> AsyncIterator[Begin]:
        async def begin() -> None:
            await self._ask(lambda store: store.marks.begin(mark.key))
            if suspect is not None:
                logger.warning(
                    "%s: is loaded alone now, because worker %s ended while it loaded",
                    mark.site,
                    suspect.worker,
                )

        outcome = Outcome.LEFT
        try:
            yield begin
            outcome = Outcome.LOADED
        except (Exception, SystemExit):
            outcome = Outcome.FAILED
            raise
        finally:
            self._end(mark, outcome)

    async def _ask(self, question: Callable[[Store], T]) -> T | None:
        """Put a question to the store; ``None`` if it has no answer, whatever is wrong with it."""
        try:
            return await self._store_thread.ask(question)
        except StoreError as error:
            self.trouble = str(error)
        except Exception as error:
            logger.exception("the store could not be asked about a load, which goes on")
            self.trouble = repr(error)
        return None

    def _end(self, mark: Mark, outcome: Outcome) -> None:
        self._ended[mark.key] = outcome
        self._settle()


class _Places:
    """The places for loads in this worker: any number of them, or one that is alone."""

    def __init__(self) -> None:
        self._taken = 0
        self._alone = False
        self._left = asyncio.Event()

    @asynccontextmanager
    async def one(self, *, alone: bool) -> AsyncIterator[None]:
        """Wait for a place, and hold it in the block.

        Who waits to be alone keeps nobody from taking a place meanwhile: only the site under
        suspicion suffers when other loads hang.
        """
        while self._alone or (alone and self._taken):
            await self._left.wait()
        self._taken, self._alone = self._taken + 1, alone
        try:
            yield
        finally:
            self._taken, self._alone = self._taken - 1, False
            self._left.set()
            self._left = asyncio.Event()


async def _read(config: SiteConfig, read: Callable[[SiteConfig], T]) -> T:
    """Have the files of a site read, on a thread of its own; raises `LoadError`."""
    timeout = config.limits.load_timeout
    _, reading = on_daemon_thread(f"{config.name} files", partial(read, config))
    try:
        async with asyncio.timeout(timeout):
            return await asyncio.wrap_future(reading)
    except TimeoutError:
        raise LoadError(f"its folder could not be looked at within {timeout:g} s") from None


def _code_of(config: SiteConfig) -> str:
    """Return a text that differs if the entry or the code of a site differs. This blocks."""
    tree = _tree(config)
    known = (repr(config), sorted(config.env.items()), tree.folder, tree.looks())
    return hashlib.sha256(repr(known).encode("utf-8", "surrogateescape")).hexdigest()


def _watch(sources: Sources, config: SiteConfig) -> None:
    sources.add_trees([_tree(config)])


def _tree(config: SiteConfig) -> Tree:
    return Tree(os.path.realpath(config.path), frozenset({".py"}))


def _end(store: Store, *, ended: Mapping[str, Outcome]) -> None:
    for key, outcome in ended.items():
        store.marks.end(key, outcome)


def _refusal(suspect: Suspect) -> str:
    return (
        f"loading it ended the process, also when nothing else was being loaded (worker "
        f"{suspect.worker}); it is loaded again when its code or its entry in sites.json has "
        f"changed, or by POST /_reload?site={suspect.site}"
    )
