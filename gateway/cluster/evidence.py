"""What a worker leaves behind if it crashes: which site's code ended it.

Each worker has a file in the state folder. Its first line names a file in memory with a slot for
each thread, which says for which site that thread works (`gateway.namespace.slots`). `faulthandler`
writes into the file amid the crash, and what it writes begins with the thread that has crashed. A
site that calls ``os._exit``, or sends the process a signal that kills it, is noted there before the
process ends. A process that is killed by others (SIGKILL) writes nothing, and then nobody is
blamed.

The slots lie in the memory of the system and not on a disk, because a thread that writes to a file
may have to wait for the disk, and would hold the GIL meanwhile.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import re
import secrets
import stat
import weakref
from collections.abc import Collection
from contextlib import ExitStack, suppress
from dataclasses import asdict
from mmap import mmap
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

from gateway.disk.files import read_all
from gateway.disk.statefolder import StateFolder
from gateway.disk.trustedfolder import StateError
from gateway.execution.wsgi import request_here
from gateway.namespace import exits, frames, slots
from gateway.sites.events import Ending

logger = logging.getLogger("gateway.control")

FAILED_START: Final = 3
"""The status by which uvicorn's supervisor knows a worker that cannot start, and then it ends all
others as well. gunicorn takes it for the same."""
INSTEAD: Final = 70
"""The status with which the process ends if a site calls ``os._exit(3)`` or ``os._exit(0)``:
``EX_SOFTWARE`` of sysexits.h."""
_MISTAKEN: Final = {FAILED_START, 0}
"""Statuses of a site's ``os._exit`` that would be taken for something else. With 0, a gateway that
ends has ended well, and systemd does not start it again (``Restart=on-failure``)."""
_MEMORY: Final = Path("/dev/shm")
_NAME: Final = re.compile(r"gateway-[0-9a-f]{32}")
_LARGEST: Final = 8 << 20
"""Bytes of a file that is read. `faulthandler` writes the stacks of up to a hundred threads."""
_FRAMES: Final = 20
"""Lines of a stack that are told, the innermost first."""
_SIGNALS: Final = {
    "Segmentation fault": "a segmentation fault",
    "Aborted": "an abort (SIGABRT)",
    "Bus error": "a bus error",
    "Floating-point exception": "a floating-point exception (SIGFPE)",
    "Illegal instruction": "an illegal instruction",
}
_FATAL: Final = re.compile(r"Fatal Python error: (.*)")
_CURRENT: Final = re.compile(r"Current thread 0x([0-9a-f]+)")
_COLLECTING: Final = "  Garbage-collecting"


class Evidence:
    """The file of one worker, which exists while inside ``with`` and after a crash.

    If it cannot be made the log says so. A site's ``os._exit`` never ends with `FAILED_START` or 0
    in any case.
    """

    def __init__(self, folder: StateFolder, prefix: str, worker: str) -> None:
        self._folder = folder
        self._name = prefix + worker
        self._pid = os.getpid()
        self._descriptor = -1
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(exits.attended(self._note_exit))
        try:
            with ExitStack() as stack:
                self._collect(stack)
                self._stack.push(stack.pop_all())
        except (StateError, OSError) as error:
            logger.warning("if this worker crashes, nobody will know by which site: %s", error)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _collect(self, stack: ExitStack) -> None:
        self._descriptor = self._folder.own(self._name)
        stack.callback(self._close)
        stack.callback(_remove, self._folder, self._name)
        path = _MEMORY / f"gateway-{secrets.token_hex(16)}"
        # Before it is made: whoever finds this file after a death removes that one, too.
        os.write(self._descriptor, json.dumps({"slots": path.name}).encode() + b"\n")
        if _MEMORY.is_dir():
            memory = _make_memory(path)
            stack.callback(path.unlink, missing_ok=True)
            stack.enter_context(slots.kept_in(memory))
        if faulthandler.is_enabled():
            stack.callback(_enable_as_at_the_start)
        faulthandler.enable(self._descriptor)
        stack.callback(faulthandler.disable)
        _leave_children_out(self)

    def _note_exit(self, exit: exits.Exit) -> int:
        """Write down which site ends this process; return the status to end with."""
        if os.getpid() != self._pid:  # a child that a site has forked may end as it likes
            return exit.status
        with suppress(Exception):
            namespace: Any = exit.namespace
            site, generation = _site_and_generation(namespace.name)
            loading = slots.name_of_this_thread().startswith(slots.LOADING)
            stack = _stack(exit.frame)
            ending = Ending(exit.how, site, generation, loading, request_here(), stack)
            os.write(self._descriptor, json.dumps(asdict(ending)).encode() + b"\n")
        return INSTEAD if exit.status & 0xFF in _MISTAKEN else exit.status

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


def read(folder: StateFolder, name: str) -> Ending | None:
    """Return what a worker has left behind in its file; ``None`` if nothing. It blocks.

    Raises `StateError` and ``OSError``.
    """
    content = folder.read(name, _LARGEST)
    if content is None:
        return None
    first, *lines = content.decode(errors="replace").split("\n")
    for number, line in enumerate(lines):
        if line.startswith("{"):
            return Ending(**json.loads(line))
        if fatal := _FATAL.match(line):
            return _crash(fatal[1], lines[number:], _slots(first))
    return None


def discard(folder: StateFolder, name: str) -> None:
    """Remove the file of a worker that has ended, and its slots. It blocks, and never raises."""
    with suppress(StateError, OSError, ValueError):
        content = folder.read(name, _LARGEST)
        if content is not None and (path := _memory_named(content.decode().partition("\n")[0])):
            path.unlink(missing_ok=True)
    _remove(folder, name)


def sweep(folder: StateFolder, prefix: str, awaited: Collection[str]) -> None:
    """Remove what workers have left behind after whose end nobody asks. It blocks.

    These are all that do not run, without those in ``awaited``. Raises `StateError` and
    ``OSError``.
    """
    for name in folder.names():
        if not name.startswith(prefix) or name.removeprefix(prefix) in awaited:
            continue
        if not folder.is_owned(name):
            discard(folder, name)


def _crash(fatal: str, lines: list[str], memory: bytes) -> Ending:
    """Return who crashed, from what `faulthandler` has written and the slots of the threads."""
    how = _SIGNALS.get(fatal, f"a fatal error ({fatal})")
    ident, stack = 0, list[str]()
    for line in lines:
        if ident and not line.startswith("  "):
            break
        if ident:
            stack.append(line)
        elif current := _CURRENT.match(line):
            ident = int(current[1], 16)
    # A thread that collects garbage may end anybody's objects.
    name = slots.name_of(memory, ident) if ident and _COLLECTING not in stack else ""
    site, generation = _site_and_generation(name.removeprefix(slots.LOADING))
    if not site:
        return Ending(how)
    loading = name.startswith(slots.LOADING)
    return Ending(how, site, generation, loading, stack="\n".join(stack[:_FRAMES]))


def _site_and_generation(name: str) -> tuple[str, int]:
    """Take apart the name of a namespace; the site is empty if it is not that of a site."""
    site, _, number = name.rpartition(" #")
    return (site, int(number)) if number.isdecimal() else ("", 0)


def _slots(header: str) -> bytes:
    """Return the slots that a file names in its first line; none if they cannot be trusted."""
    path = _memory_named(header)
    if path is None:
        return b""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        status = os.fstat(descriptor)
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        return read_all(descriptor, slots.SIZE) if ours else b""
    finally:
        os.close(descriptor)


def _memory_named(header: str) -> Path | None:
    name = json.loads(header)["slots"]
    return _MEMORY / name if _NAME.fullmatch(name) else None


def _make_memory(path: Path) -> mmap:
    """Make a file of the size of the slots, all of it there, and map it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR)
    try:
        # Where memory is short, this raises, and the write of a thread would be a bus error.
        os.posix_fallocate(descriptor, 0, slots.SIZE)
        return mmap(descriptor, slots.SIZE)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


def _stack(frame: FrameType | None) -> str:
    """Return a stack as `faulthandler` writes it: without the lines of the source."""
    return "\n".join(map(str, frames.places(frame, _FRAMES)))


def _remove(folder: StateFolder, name: str) -> None:
    with suppress(StateError, OSError):
        folder.remove(name)


def _enable_as_at_the_start() -> None:
    with suppress(Exception):  # there may be no stderr
        faulthandler.enable()


def _leave_children_out(evidence: Evidence) -> None:
    """See to it that a child made by ``fork`` does not write into the file of its parent."""
    reference = weakref.ref(evidence)

    def in_child() -> None:
        if reference() is not None and faulthandler.is_enabled():
            faulthandler.disable()

    os.register_at_fork(after_in_child=in_child)
