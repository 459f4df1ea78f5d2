"""Looking at the frames of threads that go on meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WALK = """
import gc, os, threading, time
from gateway.namespace import frames

# A collection in which other threads run, at every third object: as often as it can be.
gc.callbacks.append(lambda phase, info: time.sleep(0.0002))
gc.set_threshold(3, 2, 2)

def deep(n):
    a = b = c = d = e = f = g = h = i = j = k = [n]
    return deep(n - 1) if n else 0

def work():
    for _ in range(3):
        deep(150)

def feed():
    while True:
        threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

threading.Thread(target=feed, daemon=True).start()
sys = __import__("sys")
sys.setswitchinterval(1e-5)
end, walks = time.monotonic() + 4, 0
while time.monotonic() < end:
    with frames.of_all_threads() as innermost:
        for frame in innermost.values():
            for each in frames.outwards(frame):
                each.f_builtins
    walks += 1
print(walks, flush=True)
os._exit(0)  # the threads cannot start others any more while Python ends
"""


def test_threads_may_return_and_end_meanwhile() -> None:
    """Walked without a care, CPython 3.11 crashes at this within a second, or never ends."""
    walk = subprocess.run(
        [sys.executable, "-c", WALK],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (walk.returncode, walk.stderr) == (0, "")
    assert int(walk.stdout) > 0
