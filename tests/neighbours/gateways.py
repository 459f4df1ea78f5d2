"""Gateways that may have come to a standstill, and troubles of the machine for them."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from gateway.cluster.evidence import discard
from gateway.disk.statefolder import StateFolder

from ..integration.programs import find_program
from ..integration.servers import PROTOCOL, REPOSITORY, Gateway, Sites
from ..integration.sites import BuiltSite

_MARK: Final = "TEST_OF_NEIGHBOURS"
_NO_THREADS: Final = """
import os, threading

def refusing(start):
    def start_or_raise(*args, **kwargs):
        if os.path.exists({trouble!r}):
            raise RuntimeError("can't start new thread")
        return start(*args, **kwargs)
    return start_or_raise

for name in ("_start_joinable_thread", "_start_new_thread"):
    if hasattr(threading, name):
        setattr(threading, name, refusing(getattr(threading, name)))
"""


class DoomedGateway(Gateway):
    """A gateway of which nothing is expected at its end: it and its workers are killed.

    ``bounded`` takes from root the right to enter every folder, as other users have not got it.
    """

    def __init__(
        self,
        folder: Path,
        sites: Sites,
        environ: Mapping[str, str],
        options: Sequence[str],
        *,
        bounded: bool,
    ) -> None:
        super().__init__(folder, sites, options=options)
        # The mark is how its workers are found once it has ended.
        self.environ = {**self.environ, _MARK: str(folder), **environ}
        if bounded and os.geteuid() == 0:
            rights = "-dac_override,-dac_read_search"
            setpriv = find_program("setpriv", "util-linux")
            self.command[:0] = [str(setpriv), "--inh-caps", rights, "--bounding-set", rights]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clients.close()
        self.kill()
        self.kill_workers()
        for evidence in (self.folder / ".gateway").glob("crash-*"):
            # The next start would do that.
            discard(StateFolder(evidence.parent), evidence.name)

    @property
    def ended(self) -> bool:
        """Whether the process that was started has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    @property
    def status(self) -> int | None:
        """The exit status of the process that was started; ``None`` while it runs."""
        return None if self._process is None else self._process.poll()

    def kill_workers(self) -> None:
        """Kill every process that this one has started."""
        mark = f"{_MARK}={self.folder}".encode()
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if mark in environ.read_bytes().split(b"\0"):
                    os.kill(int(environ.parent.name), signal.SIGKILL)


class Start:
    """Starts gateways with some sites; ``gateways`` are those that were started."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.gateways: list[DoomedGateway] = []
        self._folder = folder
        self._stack = stack

    def __call__(
        self,
        *sites: BuiltSite,
        threads: int | None = None,
        workers: int | None = None,
        bounded: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> DoomedGateway:
        """A gateway that serves ``sites``; a second one goes on where the first has ended.

        Raises ``AssertionError`` if it ends before it serves.
        """
        folder = self._folder / "gateway"
        folder.mkdir(exist_ok=True)
        counted = {} if threads is None else {"GATEWAY_THREADS": str(threads)}
        options = () if workers is None else ("--workers", str(workers))
        gateway = DoomedGateway(
            folder,
            {site.name: site.entry for site in sites},
            {"GATEWAY_LOAD_RETRY": "0.1", **counted, **(environ or {})},
            (*options, *PROTOCOL),
            bounded=bounded,
        )
        # The port is looked for in there, and an earlier gateway had another.
        gateway.log = folder / f"gateway-{len(self.gateways)}.log"
        self.gateways.append(gateway)
        return self._stack.enter_context(gateway)  # type: ignore[return-value]


def without_threads(folder: Path, trouble: Path) -> dict[str, str]:
    """The environment of a gateway that can start no thread while the file ``trouble`` is there.

    That is what ``RLIMIT_NPROC`` and the limits of containers do.
    """
    (folder / "trouble").mkdir()
    (folder / "trouble/sitecustomize.py").write_text(_NO_THREADS.format(trouble=str(trouble)))
    return {"PYTHONPATH": os.pathsep.join([str(folder / "trouble"), str(REPOSITORY)])}
