"""The thread that writes stacks when the event loop stands still."""

from __future__ import annotations

import faulthandler
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.disk.statefolder import StateFolder
from gateway.upkeep.stacks import Stacks

DEADLINE = 30.0


def test_it_goes_on_while_the_system_gives_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``dump_traceback_later`` starts one each time."""
    arm, armed = faulthandler.dump_traceback_later, list[bool]()

    def refuse_first(*args: Any, **options: Any) -> None:
        armed.append(len(armed) > 1)
        if not armed[-1]:
            raise RuntimeError("unable to start watchdog thread")
        arm(*args, **options)

    monkeypatch.setattr(faulthandler, "dump_traceback_later", refuse_first)
    stacks = Stacks(StateFolder(tmp_path), "worker", time.monotonic)
    stacks.start()
    try:
        deadline = time.monotonic() + DEADLINE
        while not (armed and armed[-1]):
            assert time.monotonic() < deadline, "the thread has ended"
            time.sleep(0.01)
        assert "gateway watch" in [thread.name for thread in threading.enumerate()]
    finally:
        stacks.stop()
