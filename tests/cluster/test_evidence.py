"""What is read from the file of a worker that has crashed, and what is left of it afterwards."""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cluster import evidence
from gateway.cluster.evidence import INSTEAD, Evidence, discard, read, sweep
from gateway.disk.statefolder import StateFolder
from gateway.namespace import exits, slots
from gateway.sites.events import Ending

IDENT = 0x7FC55ABE86C0
STACK = '  File "/srv/shop/app.py", line 4 in view\n  File "/usr/lib/threading.py", line 9 in run'
FATAL = f"""Fatal Python error: Segmentation fault

Thread 0x{IDENT + 8:016x} (most recent call first):
  File "/srv/blog/app.py", line 4 in view

Current thread 0x{IDENT:016x} (most recent call first):
{STACK}

Thread 0x{IDENT + 9:016x} (most recent call first):
  File "/srv/blog/app.py", line 4 in view

Extension modules: a, b
"""
SEGFAULT = "a segmentation fault"


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shm").mkdir()
    monkeypatch.setattr(evidence, "_MEMORY", tmp_path / "shm")
    return tmp_path / "shm"


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


class Dead:
    """The file of a worker that has ended, with a slot for the thread ``IDENT``."""

    def __init__(self, folder: StateFolder, memory: Path, text: str, name: str = "shop #3") -> None:
        self.slots = memory / f"gateway-{'0' * 32}"
        content = bytearray(slots.SIZE)
        content[1280:1288] = IDENT.to_bytes(8, "little")
        content[1288:1408] = slots.shown(name)
        self.slots.write_bytes(content)
        header = json.dumps({"slots": self.slots.name})
        folder.replace("crash-1-ab", f"{header}\n{text}".encode())


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("shop #3", Ending(SEGFAULT, "shop", 3, stack=STACK)),
        ("load shop #3", Ending(SEGFAULT, "shop", 3, loading=True, stack=STACK)),
        ("a.b-c_d. #12", Ending(SEGFAULT, "a.b-c_d.", 12, stack=STACK)),
        ("", Ending(SEGFAULT)),
        ("no generation", Ending(SEGFAULT)),
    ],
)
def test_the_thread_that_crashed_is_looked_up(
    folder: StateFolder, memory: Path, name: str, ending: Ending
) -> None:
    Dead(folder, memory, FATAL, name)
    assert read(folder, "crash-1-ab") == ending


@pytest.mark.parametrize(
    "text",
    [
        FATAL.replace(STACK, "  Garbage-collecting\n" + STACK),
        FATAL.replace("Current thread", "Thread"),
        FATAL.replace(f"{IDENT:016x}", f"{IDENT + 1:016x}"),
        FATAL[:40],
    ],
)
def test_without_a_sure_thread_no_site_is_blamed(
    folder: StateFolder, memory: Path, text: str
) -> None:
    Dead(folder, memory, text)
    assert read(folder, "crash-1-ab") == Ending(SEGFAULT)


def test_slots_that_cannot_be_trusted_blame_nobody(folder: StateFolder, memory: Path) -> None:
    dead = Dead(folder, memory, FATAL)
    dead.slots.rename(memory / "elsewhere")
    dead.slots.symlink_to(memory / "elsewhere")
    assert read(folder, "crash-1-ab") == Ending(SEGFAULT)
    dead.slots.unlink()
    assert read(folder, "crash-1-ab") == Ending(SEGFAULT)
    folder.replace("crash-1-ab", b'{"slots": "../../etc/passwd"}\n' + FATAL.encode())
    assert read(folder, "crash-1-ab") == Ending(SEGFAULT)


def test_who_was_killed_has_left_nothing(folder: StateFolder, memory: Path) -> None:
    Dead(folder, memory, "")
    assert read(folder, "crash-1-ab") is None
    assert read(folder, "crash-2-ab") is None


def test_nothing_is_left_of_what_was_read(folder: StateFolder, memory: Path) -> None:
    dead = Dead(folder, memory, FATAL)
    discard(folder, "crash-1-ab")
    assert (folder.names(), dead.slots.exists()) == (set(), False)
    discard(folder, "crash-1-ab")
    folder.replace("crash-1-ab", b"\xff no header")
    discard(folder, "crash-1-ab")
    assert folder.names() == set()


def test_the_file_is_there_while_the_worker_runs(folder: StateFolder, memory: Path) -> None:
    with Evidence(folder, "crash-", "1-ab"):
        assert folder.names() == {"crash-1-ab"}
        (kept,) = memory.iterdir()
        assert kept.stat().st_mode & 0o777 == 0o600
        with slots.working_for("shop #1"):
            assert slots.name_of(kept.read_bytes(), threading.get_ident()) == "shop #1"
        for name in ("crash-2-cd", "crash-3-ef", "other"):
            folder.replace(name, b'{"slots": ""}\n')
        sweep(folder, "crash-", {"3-ef"})
        assert folder.names() == {"crash-1-ab", "crash-3-ef", "other"}
    assert folder.names() == {"crash-3-ef", "other"}
    assert list(memory.iterdir()) == []


@pytest.mark.parametrize("status", [0, 3, 9, 256, 259, -253])
def test_an_exit_is_written_down(folder: StateFolder, memory: Path, status: int) -> None:
    with Evidence(folder, "crash-", "1-ab"), slots.working_for("load shop #7"):
        namespace: Any = type("Named", (), {"name": "shop #7"})
        taken = exits.tell(exits.Exit(namespace, f"os._exit({status})", status, sys._getframe()))
        ending = read(folder, "crash-1-ab")
        assert ending is not None
        assert taken == (INSTEAD if status & 0xFF in (0, 3) else status)
        assert ending.how == f"os._exit({status})"
        assert (ending.site, ending.generation, ending.loading) == ("shop", 7, True)
        assert "in test_an_exit_is_written_down" in ending.stack


def test_the_status_is_another_one_also_when_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the place of the folder")
    namespace: Any = type("Named", (), {"name": "shop #7"})
    for status in (0, 3, 256):
        with Evidence(StateFolder(tmp_path / "state"), "crash-", "1-ab"):
            leaving = exits.Exit(namespace, f"os._exit({status})", status, sys._getframe())
            assert exits.tell(leaving) == INSTEAD
        assert exits.tell(leaving) == status


def test_a_forked_child_keeps_its_status(folder: StateFolder, memory: Path) -> None:
    namespace: Any = type("Named", (), {"name": "shop #7"})
    with Evidence(folder, "crash-", "1-ab"):
        leaving = exits.Exit(namespace, "os._exit(0)", 0, sys._getframe())
        if (pid := os.fork()) == 0:
            os._exit(exits.tell(leaving))
        assert os.waitpid(pid, 0)[1] == 0
        assert read(folder, "crash-1-ab") is None


@pytest.mark.parametrize("fault", ["write", "posix_fallocate", "mmap", "enable"])
def test_a_fault_at_the_start_leaves_nothing_behind(
    folder: StateFolder,
    memory: Path,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    holder: Any = {"mmap": evidence, "enable": evidence.faulthandler}.get(fault, evidence.os)
    enabled = faulthandler.is_enabled()
    monkeypatch.setattr(holder, fault, fails)
    with Evidence(folder, "crash-", "1-ab"):
        monkeypatch.undo()
        open_files = [os.readlink(entry.path) for entry in os.scandir("/proc/self/fd/.")]
        assert not [file for file in open_files if "crash-" in file]
        assert faulthandler.is_enabled() is enabled
        assert slots.name_of_this_thread() == ""
    assert folder.names() == set()


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """pytest has a faulthandler of its own, which writes to a file of its own."""
    enabled = faulthandler.is_enabled()
    yield
    if enabled:
        faulthandler.enable(2)
