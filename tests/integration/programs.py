"""Programs that tests start: each with its output in a file, each ended by who started it."""

from __future__ import annotations

import fcntl
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from .waiting import until

PATIENCE_AT_END: Final = 60.0
"""Seconds that a program has to end once it was asked to."""
_PORTS: Final = range(20_000, 32_000)
_SHOWN: Final = 12_000
_REQUIRED: Final = "GATEWAY_REQUIRE_SERVICES"


class Program:
    """A program in the background. ``with`` it: leaving asks it to end and sees that it does.

    ``log`` is the file that gets what it prints; ``user`` is whom it runs as, if that is not us.
    """

    stop_signal: signal.Signals = signal.SIGTERM
    good_ends: frozenset[int] = frozenset({0})

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path,
        environ: Mapping[str, str],
        log: Path,
        user: str | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.folder = folder
        self.environ = environ
        self.log = log
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    @property
    def pid(self) -> int:
        """The process id while it runs, and afterwards the one it had."""
        assert self._process is not None, "the program was not started"
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def start(self, ready: Callable[[], bool]) -> None:
        """Start it and wait until ``ready``; raises ``AssertionError`` if it ends before."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **_identity(self._user),
            )
        try:
            until(lambda: self._alive() and ready(), f"{self.command} is ready")
        except BaseException as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.tail()}") from error

    def stop(self) -> int:
        """Ask it to end; returns its exit status. Raises ``AssertionError`` if it goes on.

        What has ended already is left alone.
        """
        assert self._process is not None, "the program was not started"
        if self._process.poll() is None:
            self._process.send_signal(self.stop_signal)
        try:
            status = self._process.wait(PATIENCE_AT_END)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.command} did not end\n{self.tail()}") from None
        assert self._killed or status in self.good_ends, (
            f"{self.command} ended with {status}\n{self.tail()}"
        )
        return status

    def kill(self) -> None:
        """End it at once."""
        assert self._process is not None, "the program was not started"
        self._process.kill()
        self._process.wait()
        self._killed = True

    def tail(self) -> str:
        """The end of the output, for a message."""
        return self.output[-_SHOWN:]

    def _alive(self) -> bool:
        assert self._process is not None, "the program was not started"
        status = self._process.poll()
        assert status is None, f"{self.command} ended with {status} before it was ready"
        return True


def run(
    command: Sequence[str | Path],
    *,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    user: str | None = None,
) -> str:
    """Run a command to its end and return what it printed; raises ``AssertionError`` on failure."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=plain_environ(**(environ or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        **_identity(user),
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout[-_SHOWN:]}"
    return done.stdout


def plain_environ(**more: str) -> dict[str, str]:
    """The environment of programs that tests start: nothing of the tests' own leaks into it."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | more


def find_program(name: str, package: str, *folders: Path) -> Path:
    """Where a program is; skips the test if it is not installed.

    With ``GATEWAY_REQUIRE_SERVICES=1`` the test fails instead: where everything is installed, a
    test that silently does not run would prove nothing.
    """
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath), "/usr/sbin"])
    if found := shutil.which(name, path=path):
        return Path(found)
    missing = f"{name} is not installed: apt-get install {package}"
    if os.environ.get(_REQUIRED) == "1":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def unprivileged(user: str) -> str | None:
    """``user`` if we are root, for what should or will not run as root; otherwise nobody else."""
    return user if os.geteuid() == 0 else None


def _identity(user: str | None) -> dict[str, Any]:
    """What makes ``subprocess`` start a program as somebody else, without any of our groups."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


@contextmanager
def private_folder(user: str | None) -> Iterator[Path]:
    """A folder that is gone afterwards, and that ``user`` can reach.

    Not pytest's temporary folders: those are for our own user only.
    """
    with tempfile.TemporaryDirectory(prefix="gateway-", ignore_cleanup_errors=True) as name:
        if user is not None:
            shutil.chown(name, user)
        yield Path(name)


def free_port() -> int:
    """A port that nobody listens on, for servers that cannot choose one.

    It is below those that the system gives to whoever asks for any, and no other run of the tests
    gets it while this process lives.
    """
    folder = Path(tempfile.gettempdir(), f"gateway-ports-of-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for port in random.sample(_PORTS, len(_PORTS)):
        lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT)  # stays open, and so locked
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            os.close(lock)
    raise AssertionError("all ports are taken")


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
