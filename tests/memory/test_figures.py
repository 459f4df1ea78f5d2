"""What the gateway asks of the C library."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from tests.integration.programs import plain_environ

pytestmark = pytest.mark.skipif(
    getattr(ctypes.CDLL(None), "mallopt", None) is None, reason="for Linux with glibc"
)

ARENAS = """
import ctypes, threading
from gateway.memory.figures import give_back, share_one_arena

share_one_arena()
ends = threading.Barrier(4)
def allocate():
    kept = bytearray(2000)
    ends.wait()
threads = [threading.Thread(target=allocate) for _ in range(3)]
for thread in threads:
    thread.start()
ends.wait()
give_back()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
output = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, output)
libc.fflush(output)
"""


@pytest.mark.parametrize(
    ("chosen", "some"),
    [
        ({}, False),
        ({"MALLOC_ARENA_MAX": "3"}, True),
        ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=3"}, True),
    ],
    ids=["nothing chosen", "by variable", "by tunable"],
)
def test_threads_share_one_arena_unless_the_operator_wants_more(
    chosen: dict[str, str], some: bool
) -> None:
    environ = plain_environ(**chosen)
    run = [sys.executable, "-c", ARENAS]
    said = subprocess.run(run, env=environ, capture_output=True, text=True, check=True).stdout
    assert (said.count("<heap ") > 1) is some, said
