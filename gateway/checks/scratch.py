"""A process of its own for the check of one site, whatever the site does to it."""

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
"""Takes the gateway that runs here, wherever it is from, and changes nothing else."""
_GRACE: Final = 15.0
"""Seconds beyond the limits of all stages: the process keeps these itself, if it can."""
_ATTENTION: Final = 0.2
"""Seconds in which an order to stop is noticed."""
_OUTPUT_KEPT: Final = 16_000
_ANSWER_KEPT: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a scratch process. No text in it holds a secret of the site."""

    facts: Facts
    status: int
    """As ``subprocess`` tells it: negative for a signal."""
    timed_out: bool
    stack: str
    """Where the site was when it crashed or ran out of time, the innermost call first."""
    output: str
    """The end of what it printed."""


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
        # Whatever it has started goes with it.
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
    """Hand in the request and wait; returns whether the process ended by itself."""
    assert process.stdin is not None, "it was started with a pipe"
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(request.encode())
    limit = request.limit + ASKING_SECONDS + UNLOADING_SECONDS + _GRACE
    end = time.monotonic() + limit
    while time.monotonic() < end and not stop.is_set():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_ATTENTION)
            return True
    return False


def _last_facts(answer: _Pipe) -> Facts:
    lines = answer.text().splitlines(keepends=True)
    complete = [line for line in lines if line.endswith("\n")]
    if not complete:
        return Facts(stage="starting", python="")
    return Facts.decode(complete[-1].encode())


def _masked_facts(facts: Facts, mask: Mask) -> Facts:
    """The facts without secrets, but for what is compared and is no text of the site's code."""
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
    """A pipe from the child, emptied all the time; only the end of what comes is kept.

    ``end`` is what the child gets. A process that the child leaves behind may hold the pipe open
    for ever, so nobody waits for its end for long.
    """

    def __init__(self, kept: int) -> None:
        super().__init__(daemon=True)
        self._kept = kept
        self._bytes = b""
        self._cut = False
        self._lock = threading.Lock()
        self._read, self.end = os.pipe()

    def start(self) -> None:
        """Begin to read; the child has its end by now."""
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
        """Wait a little for what is still under way."""
        self.join(1.0)

    def text(self) -> str:
        """What has been kept, in whole lines: half a secret would not be recognised as one."""
        with self._lock:
            kept = self._bytes
        if self._cut:
            kept = kept.partition(b"\n")[2]
        return kept.decode(errors="backslashreplace")
