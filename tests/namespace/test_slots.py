"""For whom each thread works, and what a site may not take away from the process."""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path

import pytest

from gateway.namespace import Namespace, installed, slots
from gateway.namespace.exits import attended

CODE = """
import _thread, faulthandler, os, posix, threading

def on_a_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()

def on_a_low_thread(function):
    lock = _thread.allocate_lock()
    lock.acquire()
    _thread.start_new_thread(lambda: (function(), lock.release()), ())
    lock.acquire()
"""


@pytest.fixture
def memory() -> Iterator[mmap]:
    with mmap(-1, slots.SIZE) as memory, slots.kept_in(memory):
        yield memory


def of_this_thread(memory: mmap) -> str:
    return slots.name_of(memory[:], threading.get_ident())


def test_a_slot_says_for_whom_a_thread_works_until_it_is_given_back(memory: mmap) -> None:
    assert of_this_thread(memory) == ""
    slot = slots.Slot()
    assert of_this_thread(memory) == ""
    for name in ("shop #1", "a" * 63 + " #123456789", "blog #2"):
        slot.show(slots.shown(name))
        assert of_this_thread(memory) == name == slots.name_of_this_thread()
    slot.show(slots.NOBODY)
    assert of_this_thread(memory) == ""
    slot.give_back()
    with slots.working_for("shop #2"):
        assert of_this_thread(memory) == "shop #2"
    assert of_this_thread(memory) == ""


def test_more_threads_than_slots(memory: mmap) -> None:
    taken = [slots.Slot() for _ in range(slots.COUNT + 3)]
    taken[-1].show(slots.shown("shop #1"))
    assert of_this_thread(memory) == ""
    for slot in taken:
        slot.give_back()
    with slots.working_for("shop #1"):
        assert of_this_thread(memory) == "shop #1"


def test_slots_taken_before_are_kept_as_well() -> None:
    with slots.working_for("shop #1"):
        with mmap(-1, slots.SIZE) as memory, slots.kept_in(memory):
            assert of_this_thread(memory) == "shop #1"
        assert slots.name_of_this_thread() == "shop #1"


def test_a_child_does_not_write_into_the_memory_of_its_parent(memory: mmap) -> None:
    before = memory[:]
    if (pid := os.fork()) == 0:
        slots.Slot().show(slots.shown("shop #1"))
        os._exit(slots.name_of_this_thread() != "shop #1")
    assert os.waitpid(pid, 0)[1] == 0
    assert memory[:] == before


def test_threads_that_a_site_starts_work_for_it(tmp_path: Path, memory: mmap) -> None:
    (tmp_path / "code.py").write_text(CODE)
    seen: list[str] = []
    with installed():
        site = Namespace("shop #3", path=[tmp_path]).import_module("code")
        site.on_a_thread(lambda: seen.append(of_this_thread(memory)))
        site.on_a_low_thread(lambda: seen.append(of_this_thread(memory)))
        thread = threading.Thread(target=lambda: seen.append(of_this_thread(memory)))
        thread.start()
        thread.join()
    assert seen == ["shop #3", "shop #3", ""]
    assert "_bootstrap" not in vars(thread)


def test_a_site_enables_and_disables_a_faulthandler_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE)
    before = faulthandler.is_enabled()
    with installed():
        for name in "ab":
            own = Namespace(name, path=[tmp_path]).import_module("code").faulthandler
            assert (own.is_enabled(), own.disable()) == (False, False)
            own.enable(file=None, all_threads=False)
            assert (own.is_enabled(), own.disable(), own.is_enabled()) == (True, True, False)
            own.enable()
        assert faulthandler.is_enabled() is before


def test_who_ends_the_process_is_told_before(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE)
    told: list[tuple[str, int]] = []

    def attendant(namespace: object, status: int) -> int:
        told.append((namespace.name, status))  # type: ignore[attr-defined]
        raise LookupError if status == 5 else KeyError  # nothing keeps the process from its end

    with installed(), attended(attendant):
        site = Namespace("shop #3", path=[tmp_path]).import_module("code")
        for leave, status in ((site.os._exit, 5), (site.posix._exit, 6)):
            with pytest.raises(TypeError):
                leave("no number")
            if (pid := os.fork()) == 0:
                site.on_a_thread(lambda leave=leave, status=status: leave(status))
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
        if (pid := os.fork()) == 0:
            os._exit(7 + len(told))  # the process itself, about which nobody is told
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert told == []  # those were children
