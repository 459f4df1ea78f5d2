"""``sites.json`` and the files that it names are watched, and come into effect when they change.

An event of the file system only says when to read the files. They have changed if their contents
differ from those read last. Editors and mounted configuration replace files or swap symbolic links;
so the folders of the files are watched, and those of every link on the way.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from functools import cache
from pathlib import Path
from typing import Final, Self

from watchfiles import awatch

from gateway.config.source import LARGEST
from gateway.disk.files import link_target, read_file, way_to
from gateway.disk.inputs import Look, has_settled, look
from gateway.errors import ConfigError
from gateway.sites.registry import Registry

logger = logging.getLogger("gateway.watch")

QUIET: Final = 300
"""Milliseconds without a further write after which a change counts as complete."""
PATIENCE: Final = 2_000
"""Milliseconds after which the files are read even if writes go on (a log in the same folder)."""
POLL_INTERVAL: Final = 2_000
"""Milliseconds after which the files are read without an event: network file systems send none, a
folder may not exist yet, and a fault may lie outside the files (a missing folder)."""

STOP_TIMEOUT: Final = 1.0
"""Seconds that leaving waits until the watch ends by itself."""


class Watch:
    """Watches the files that a registry was made of, while inside ``async with``.

    ``refresh`` brings them into effect. Without an event, the files are read every
    ``poll_interval`` milliseconds. Leaving waits ``stop_timeout`` seconds until the watch ends by
    itself.
    """

    def __init__(
        self,
        registry: Registry,
        refresh: Callable[[], Awaitable[object]],
        *,
        poll_interval: int = POLL_INTERVAL,
        stop_timeout: float = STOP_TIMEOUT,
    ) -> None:
        self._registry = registry
        self._bring_into_effect = refresh
        self._poll_interval = poll_interval
        self._stop_timeout = stop_timeout
        self._stop = asyncio.Event()
        self._contents = _Contents()
        self._seen: bytes | None = None
        self._refreshes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="watch sites.json")
        return self

    async def __aexit__(self, *_: object) -> None:
        # The task is not cancelled at once, because the thread that waits for events has to end
        # first. A reload that hangs must not hold up the end.
        self._stop.set()
        await asyncio.wait({self._task}, timeout=self._stop_timeout)
        tasks = {self._task, *self._refreshes}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                await self._watch()
            except Exception:
                logger.exception("watching sites.json failed; it goes on in a moment")
                await self._pause()

    async def _watch(self) -> None:
        """Check the files at every event, until other folders have to be watched."""
        folders = await asyncio.to_thread(_folders, self._registry.watched)
        # No event tells of changes between the last check and the beginning of this watch.
        await self._check()
        async with aclosing(self._occasions(folders)) as occasions:
            async for _ in occasions:
                await self._check()
                if await asyncio.to_thread(_folders, self._registry.watched) != folders:
                    return

    async def _occasions(self, folders: dict[str, int]) -> AsyncGenerator[None, None]:
        if not folders:
            await self._pause()
            yield
            return
        async for _ in awatch(
            *folders,
            watch_filter=None,
            debounce=PATIENCE,
            step=QUIET,
            stop_event=self._stop,
            rust_timeout=self._poll_interval,
            yield_on_timeout=True,
            recursive=False,
            ignore_permission_denied=True,
        ):
            yield

    async def _check(self) -> None:
        """Bring the files into effect if they changed or were wrong before."""
        seen = await asyncio.to_thread(self._contents.digest, self._registry.watched)
        if seen == self._seen and not self._registry.faulty:
            return
        self._seen = seen
        # This is not awaited: a site that hangs while it loads must not hide the next change.
        refresh = asyncio.create_task(self._refresh(), name="bring sites.json into effect")
        self._refreshes.add(refresh)
        refresh.add_done_callback(self._refreshes.discard)

    async def _refresh(self) -> None:
        try:
            await self._bring_into_effect()
        except ConfigError:
            pass  # the registry has logged the faults, once
        except Exception:
            logger.exception("bringing sites.json into effect failed; it goes on in a moment")
            self._seen = None

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_interval / 1000):
                await self._stop.wait()


class _Contents:
    """The contents of files, of which only those are read again whose `Look` has changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Look, bytes]] = {}

    def digest(self, files: Iterable[Path]) -> bytes:
        """Return one value for the contents of all files; missing and unreadable files count."""
        before, self._known = self._known, {}
        digest = hashlib.sha256()
        for path in sorted(map(os.fspath, files)):
            seen = look(path)
            known = before.get(path)
            if known is None or known[0] != seen:
                known = seen, _content(path)
            if has_settled(seen):
                self._known[path] = known
            digest.update(known[1])
        return digest.digest()


def _content(path: str) -> bytes:
    """Return a digest of the content of a file, or of the error if it cannot be read."""
    try:
        content = read_file(Path(path), LARGEST)
    except OSError as error:
        content = repr(error).encode()
    return hashlib.sha256(content).digest()


def _folders(files: Iterable[Path]) -> dict[str, int]:
    """Return the folders in which something can happen to the files, with their inode numbers.

    The number tells a folder from one that was removed and made again.
    """
    found: dict[str, int] = {}
    # Files share most of the folders on the way to them.
    link = cache(link_target)
    for path in files:
        # A link that cannot be followed now is tried again at the next check.
        with suppress(OSError):
            for place in way_to(os.fspath(path), link):
                folder = os.path.dirname(place)
                if folder not in found:
                    found[folder] = os.stat(folder).st_ino
    return found
