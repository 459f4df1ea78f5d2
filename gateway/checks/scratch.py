"""Run the check of one site in a process of its own, and survive whatever the site does to it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final

import gateway
from gateway.checks.facts import ASKING_SECONDS, UNLOADING_SECONDS, Facts, Request
from gateway.sites.masking import Mask

_START: Final = """
import sys
root = sys.argv.pop(1)
sys.path.insert(0, root)
import gateway
sys.path.remove(root)
from gateway.checks.probe import main
main()
"""
"""The program that the process starts with. It imports the same copy of the gateway that runs here,
and changes nothing else."""
_GRACE: Final = 15.0
"""Seconds that we wait beyond the limits of all stages. Usually the process itself keeps these
limits."""
_STOP_DELAY: Final = 0.2
"""Seconds until we notice at the latest that ``stop`` is set."""
_OUTPUT_KEPT: Final = 16_000
_ANSWER_KEPT: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a scratch process. No text in it holds a secret of the site."""

    facts: Facts
    status: int
    """The exit status in the form of ``subprocess``: negative for a signal."""
    timed_out: bool
    stack: str
    """The stack of the site when it crashed or ran out of time, the innermost call first."""
    output: str
    """The last part of what the site printed."""


def run(request: Request, stop: threading.Event) -> Outcome:
    """Check a site in a process of its own. Blocks; the time it takes is limited.

    If ``stop`` is set, the process is ended at once.
    """
    answer, stack, output = _Pipe(_ANSWER_KEPT), _Pipe(_OUTPUT_KEPT), _Pipe(_OUTPUT_KEPT)
    pipes = (answer, stack, output)
    arguments = [str(Path(gateway.__file__).parents[1]), str(answer.end), str(stack.end)]
    process = subprocess.Popen(
        [sys.executable, "-u", "-P", "-c", _START, *arguments],
        stdin=subprocess.PIPE,
        stdout=output.end,
        stderr=output.end,
        pass_fds=(answer.end, stack.end),
        start_new_session=True,
    )
    try:
        for pipe in pipes:
            pipe.start()
        timed_out = not _finish(process, request, stop)
    finally:
        # The processes that it has started end, too.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in pipes:
            pipe.stop()
    mask = Mask(request.site.env)
    stack_text = stack.text()
    return Outcome(
        facts=_masked_facts(_last_facts(answer), mask),
        status=process.returncode,
        timed_out=timed_out or stack_text.startswith("Timeout"),
        stack=mask(stack_text),
        output=mask(output.text()),
    )


def _finish(process: subprocess.Popen[bytes], request: Request, stop: threading.Event) -> bool:
    """Send the request and wait; returns whether the process ended by itself."""
    assert process.stdin is not None, "it was started with a pipe"
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(request.encode())
    limit = request.limit + ASKING_SECONDS + UNLOADING_SECONDS + _GRACE
    end = time.monotonic() + limit
    while time.monotonic() < end and not stop.is_set():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_DELAY)
            return True
    return False


def _last_facts(answer: _Pipe) -> Facts:
    lines = answer.text().splitlines(keepends=True)
    complete = [line for line in lines if line.endswith("\n")]
    if not complete:
        return Facts(stage="starting", python="")
    return Facts.decode(complete[-1].encode())


def _masked_facts(facts: Facts, mask: Mask) -> Facts:
    """Mask secrets in the facts, except in values that are compared and not written by the site."""
    masked: Facts = _masked(facts, mask)
    return replace(masked, stage=facts.stage, python=facts.python, units=facts.units)


def _masked(value: Any, mask: Mask) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, tuple):
        return tuple(_masked(item, mask) for item in value)
    if isinstance(value, Mapping):
        return {_masked(key, mask): _masked(item, mask) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{f.name: _masked(getattr(value, f.name), mask) for f in fields(value)}
        )
    return value


class _Pipe(threading.Thread):
    """A pipe from the child process, and the thread that reads it and keeps the last part.

    ``kept`` is the number of bytes to keep. ``end`` is the descriptor for the child. A process that
    the child leaves behind may hold the pipe open for ever, so nobody waits long for its end.
    """

    def __init__(self, kept: int) -> None:
        super().__init__(daemon=True)
        self._kept = kept
        self._bytes = b""
        self._cut = False
        self._lock = threading.Lock()
        self._read, self.end = os.pipe()

    def start(self) -> None:
        """Begin to read. Call it when the child has its end, which is closed here."""
        os.close(self.end)
        super().start()

    def run(self) -> None:
        with os.fdopen(self._read, "rb", buffering=0) as source:
            while chunk := source.read(65536):
                with self._lock:
                    joined = self._bytes + chunk
                    self._cut = self._cut or len(joined) > self._kept
                    self._bytes = joined[-self._kept :]

    def stop(self) -> None:
        """Wait a second at most for the rest of what the child wrote."""
        self.join(1.0)

    def text(self) -> str:
        """Return what has been kept, in whole lines: half a secret could not be masked."""
        with self._lock:
            kept = self._bytes
        if self._cut:
            kept = kept.partition(b"\n")[2]
        return kept.decode(errors="backslashreplace")
