"""Calls the WSGI applications of sites in a loop, on one thread, without HTTP. Prints JSON.

    python -m bench.request_path.calling SECONDS PATH FOLDER...

Each site is in a namespace of its own. One of them again and again is what a server of one site
could reach at most with one GIL; all of them in turn, what a server of all could: each finds the
caches of the processor full of the others' objects. The two alternate; figures are medians.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.samples import ENVIRON
from gateway.namespace import Namespace, installed, private_cwd

_INSIDE: Final = Path(__file__).parents[1] / "inside"
_SPELLS: Final = 6

Ask = Callable[[str], str]


def main() -> None:
    """Load, measure, print."""
    seconds, path, *folders = sys.argv[1:]
    figures: dict[str, float] = {}

    def measure() -> None:
        private_cwd(folders[0])
        sites = [_site(Path(folder)) for folder in folders]
        figures.update(_measured(sites, path, float(seconds)))

    with installed():
        thread = threading.Thread(target=measure)  # the working directory is the thread's own
        thread.start()
        thread.join()
    print(json.dumps(figures))


def _site(folder: Path) -> Ask:
    environ = {**ENVIRON, "BENCH_STEPS": os.environ["BENCH_STEPS"]}
    namespace = Namespace(folder.name, path=[_INSIDE, folder], environ=environ)
    ask: Ask = namespace.import_module("asking").ask
    return ask


def _measured(sites: Sequence[Ask], path: str, seconds: float) -> dict[str, float]:
    """Milliseconds of CPU for a request: ``one`` site alone, and all ``in turn``."""
    for ask in sites:
        for _ in range(20):
            assert ask(path).startswith("200"), f"{path} was not answered"
    orders = {"one": [sites[0]] * len(sites), "in turn": sites}
    spells: dict[str, list[float]] = {name: [] for name in orders}
    for _ in range(_SPELLS):
        for name, order in orders.items():
            spells[name].append(_spell(order, path, seconds / _SPELLS))
    return {name: statistics.median(spell) for name, spell in spells.items()}


def _spell(order: Sequence[Ask], path: str, seconds: float) -> float:
    count, started, cpu = 0, time.perf_counter(), time.thread_time()
    while time.perf_counter() - started < seconds:
        for ask in order:
            ask(path)
        count += len(order)
    return (time.thread_time() - cpu) / count * 1000


if __name__ == "__main__":
    main()
