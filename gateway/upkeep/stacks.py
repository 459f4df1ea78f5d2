"""Where all threads are while the event loop stands still, written to a file as it happens.

There are two cases, and a thread for both. It wakes up twice a second.

*The loop stands still, and other threads run.* The thread writes the stacks itself. It has the GIL
meanwhile, so no frame changes.

*Somebody holds the GIL*, so that no Python code runs at all, also not this thread. A thread in C
writes the stacks then: ``faulthandler.dump_traceback_later``, which has to be put off again and
again. It takes no GIL. So if other threads did run, it would read frames that change, and crash the
process (https://github.com/python/cpython/issues/116008, 140815; two dumps in a hundred did, with
eight busy threads on CPython 3.11 and 3.13). That is why not the event loop puts it off but this
thread, which can do so as long as anybody gives the GIL back. While many threads want the GIL and
this one has to wait for it, nothing is armed. What remains is a process that was frozen as a whole
while it was busy: it may write its stacks when it goes on.

The file is empty unless the loop stands still, or did when the process ended. The next worker that
starts puts what ended processes have left into the log.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from gateway.disk.statefolder import STACKS, StateFolder, stacks_name
from gateway.disk.trustedfolder import StateError
from gateway.namespace import frames

logger = logging.getLogger("gateway.watch")

BEAT: Final = 0.5
"""Seconds between two looks of the thread."""
STANDS: Final = 3.0
"""Seconds since its last turn after which the loop stands still; it turns once a second."""
HELD: Final = 4.0
"""Seconds for which the GIL is held. uvicorn's supervisor kills a worker after five of them."""
_CONTESTED: Final = 0.2
"""Seconds that the thread waits for the GIL, at most, while the thread in C is armed."""
_CALM: Final = 6
"""Looks without such a wait before it is armed again."""
_SHOWN: Final = 1 << 16
"""Bytes of the stacks that go into the log."""
_SELDOM: Final = 60.0
"""Seconds after which stacks go into the log again."""


class Stacks:
    """Writes the stacks of ``worker`` into ``folder``, from `start` until `stop`.

    ``turned`` returns the time of the loop's last turn (``time.monotonic``). Both methods block,
    and raise nothing: without its file, the gateway only has nothing to show. It is made on the
    thread of the loop, whose stack comes first.
    """

    def __init__(self, folder: StateFolder, worker: str, turned: Callable[[], float]) -> None:
        self._folder = folder
        self._name = stacks_name(worker)
        self._turned = turned
        self._descriptor = -1
        self._thread: threading.Thread | None = None
        self._end = threading.Event()
        self._loop_thread = threading.get_ident()
        self._beat_at = time.monotonic()
        self._calm = _CALM
        # Whether this standstill was written down by the thread, and when stacks were last logged.
        self._written = False
        self._logged_at = -_SELDOM

    def start(self) -> None:
        """Tell what ended processes have left, and begin."""
        try:
            for name, text in self._folder.take_left(STACKS, _SHOWN).items():
                if text:
                    logger.error("a worker ended while its loop stood still (%s):\n%s", name, text)
            self._descriptor = self._folder.own(self._name)
            thread = threading.Thread(target=self._run, name="gateway watch", daemon=True)
            thread.start()
            self._thread = thread
        except (StateError, OSError, RuntimeError) as error:
            logger.warning("no stacks will be written if the event loop stands still: %s", error)
            self._close()

    def stop(self) -> None:
        """End the thread and remove the file."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(2 * BEAT)
            if self._thread.is_alive():  # the disk hangs, and the file is all that there is
                return
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            with suppress(StateError, OSError):
                self._folder.remove(self._name)
            os.close(self._descriptor)
            self._descriptor = -1

    # On the thread

    def _run(self) -> None:
        try:
            self._arm()
            while not self._end.wait(BEAT):
                # First: while this thread waits for a disk, others run.
                faulthandler.cancel_dump_traceback_later()
                self._look()
                self._arm()
        except OSError as error:
            logger.warning("the stacks could not be written: %s", error)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _arm(self) -> None:
        if self._calm >= _CALM:
            # It starts a thread each time. If the system gives none, the next beat tries again.
            with suppress(RuntimeError, MemoryError):
                faulthandler.dump_traceback_later(HELD, file=self._descriptor)

    def _look(self) -> None:
        now = time.monotonic()
        late, self._beat_at = now - self._beat_at - BEAT, now
        self._calm = self._calm + 1 if late < _CONTESTED else 0
        there = os.fstat(self._descriptor).st_size
        if now - self._turned() < STANDS:
            if there:
                self._tell(now)
            self._written = False
        elif not there:
            self._write()

    def _write(self) -> None:
        lines = [f"{datetime.now(UTC).isoformat(timespec='seconds')} the event loop is here:"]
        with frames.of_all_threads() as innermost:
            lines.extend(map(str, frames.places(innermost.get(self._loop_thread))))
        os.write(self._descriptor, "\n".join([*lines, "", "all threads:", ""]).encode())
        faulthandler.dump_traceback(self._descriptor, all_threads=True)
        self._written = True

    def _tell(self, now: float) -> None:
        """Log what was written, now that the loop turns again, and make room for the next time."""
        if now - self._logged_at >= _SELDOM:
            self._logged_at = now
            what = (
                "while the loop stood still" if self._written else "while one of them had the GIL"
            )
            text = os.pread(self._descriptor, _SHOWN, 0).decode(errors="replace")
            logger.error("the threads were here %s:\n%s", what, text)
        os.ftruncate(self._descriptor, 0)
