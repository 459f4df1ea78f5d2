"""A thousand sites: what they cost while nobody asks for them, and whether a memory budget holds.

    python bench/many_sites.py [--sites 1000] [--rounds 5] [--only start routing budget reload]

*start*: seconds from the start of a gateway to its first answer, without sites and with all of
them, cold. *routing*: one tiny site alone and amid the others, with wrk (apt-get install wrk).
*budget*: requests at a steady rate, spread over ``--touched`` of the sites by Zipf's law (the site
of rank r gets a share of 1/r), in a gateway whose budget is too small for all of these; its memory
(RSS) is looked at twice a second.

*reload*: of one site by its name, with ``--workers``, which agree; each site has an ``env_file``
and leaves it to the gateway to find its ``wsgi``. First as it is, then after an edit of its entry,
and of its ``env_file``. The liveness that anybody may ask for is timed
as well, with this many sites and with one.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.request_path.servers import cpu_of
from bench.request_path.wrk import Load, run
from gateway.memory.figures import resident
from tests.integration.servers import PROTOCOL, Gateway
from tests.integration.sites import BuiltSite, tiny_site

OPTIONS = (*PROTOCOL, "--no-access-log")
MB = 1 << 20

Entries = Mapping[str, Mapping[str, Any]]


def main() -> None:
    """Run what is wanted and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--touched", type=int, default=200)
    parser.add_argument("--budget", type=int, default=600, help="MB")
    parser.add_argument("--rate", type=float, default=5, help="requests a second")
    parser.add_argument("--workers", type=int, default=1, help="that reload")
    parser.add_argument("--seconds", type=float, default=180, help="of the load on the budget")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sites = [tiny_site(folder / "sites", f"site{n:04}") for n in range(options.sites)]
        entries = {site.name: site.entry for site in sites}
        homes = (folder / f"home{n}" for n in itertools.count())
        for kind in options.only:
            KINDS[kind](entries, lambda: _made(next(homes)), options)


def start(entries: Entries, home: Callable[[], Path], options: argparse.Namespace) -> None:
    """How much longer it takes to start."""
    took: dict[int, list[float]] = {0: [], len(entries): []}
    for _ in range(options.rounds):
        for count in took:
            before = time.perf_counter()
            with Gateway(home(), dict(itertools.islice(entries.items(), count)), options=OPTIONS):
                took[count].append(time.perf_counter() - before)
    none, many = (statistics.median(seconds) for seconds in took.values())
    print(f"start: {none:.2f} s without sites, {many:.2f} s with {len(entries)}")
    print(f"  a difference of {many - none:.2f} s, median of {options.rounds} rounds\n", flush=True)


def routing(entries: Entries, home: Callable[[], Path], options: argparse.Namespace) -> None:
    """How much slower one site is when there are others."""
    (name, entry), (host,) = next(iter(entries.items())), [next(iter(entries)) + ".localhost"]
    rates: dict[str, list[float]] = {"alone": [], "amid": []}
    costs: dict[str, list[float]] = {"alone": [], "amid": []}
    with (
        Gateway(home(), {name: entry}, options=OPTIONS) as alone,
        Gateway(home(), entries, options=OPTIONS) as amid,
    ):
        for number in range(options.rounds + 1):  # the first warms up
            for kind, gateway in (("alone", alone), ("amid", amid)):
                before = cpu_of(Path(f"/proc/{gateway.pid}/stat"))
                outcome = run([Load("/", 16)], gateway.port, [host], 5)[0]
                if number:
                    rates[kind].append(outcome.rate)
                    used = cpu_of(Path(f"/proc/{gateway.pid}/stat")) - before
                    costs[kind].append(used / outcome.requests * 1e6)
    few, many = (statistics.median(values) for values in rates.values())
    print(f"routing: {few:.0f} requests/s alone, {many:.0f} amid {len(entries)} sites")
    for what, values in {"rate": rates, "CPU for a request": costs}.items():
        ratios = sorted(m / f for f, m in zip(*values.values(), strict=True))
        listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"  {what}: a ratio of {statistics.median(ratios):.2f} (rounds: {listed})", flush=True
        )
    print()


def budget(entries: Entries, home: Callable[[], Path], options: argparse.Namespace) -> None:
    """How much memory a gateway has that may not have enough."""
    hosts = [f"{name}.localhost" for name in itertools.islice(entries, options.touched)]
    shares = [1 / rank for rank in range(1, len(hosts) + 1)]
    choose = random.Random(1).choices
    environ = {"GATEWAY_MEMORY_BUDGET": str(options.budget)}
    answers: list[tuple[float, int]] = []
    errors: list[str] = []
    work: SimpleQueue[str | None] = SimpleQueue()

    def ask() -> None:
        while (host := work.get()) is not None:
            before = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
            try:
                connection.request("GET", "/", headers={"Host": host, "Connection": "close"})
                status = connection.getresponse().status
            except OSError as error:
                errors.append(repr(error))
            else:
                answers.append((time.perf_counter() - before, status))
            finally:
                connection.close()

    with Gateway(home(), entries, environ, OPTIONS) as gateway:
        empty = resident(gateway.pid) / MB
        threads = [threading.Thread(target=ask) for _ in range(32)]
        for thread in threads:
            thread.start()
        seen: list[float] = []
        started = time.monotonic()
        for number in itertools.count():
            now = time.monotonic() - started
            if now > options.seconds:
                break
            work.put(choose(hosts, shares)[0])
            if now > len(seen) / 2:
                seen.append(resident(gateway.pid) / MB)
            time.sleep(max(0.0, started + (number + 1) / options.rate - time.monotonic()))
        for _ in threads:
            work.put(None)
        for thread in threads:
            thread.join()
        health = gateway.health()["sites"].values()
        loads = sum(site["generation"] for site in health)
        log = gateway.output
    milliseconds = sorted(seconds * 1000 for seconds, _ in answers)
    failed = len(errors) + sum(status != 200 for _, status in answers)
    above = sum(mb > options.budget for mb in seen) / len(seen)
    print(f"budget: {options.budget} MB, {options.touched} of {len(entries)} sites touched")
    print(f"  {len(answers)} requests in {options.seconds:.0f} s, {failed} failed {errors[:2]}")
    print(
        f"  ms: p50 {_share(milliseconds, 0.5):.0f}, p90 {_share(milliseconds, 0.9):.0f}, "
        f"p99 {_share(milliseconds, 0.99):.0f}, max {milliseconds[-1]:.0f}"
    )
    print(
        f"  {log.count('loaded in')} loads, {log.count('was unloaded (memory)')} unloads, {loads}"
    )
    print(
        f"  MB: {empty:.0f} empty, median {statistics.median(seen):.0f}, max {max(seen):.0f}, "
        f"above the budget {above:.0%} of the time"
    )
    print(f"  every 15 s: {', '.join(f'{mb:.0f}' for mb in seen[::30])}\n", flush=True)


def reload(entries: Entries, home: Callable[[], Path], options: argparse.Namespace) -> None:
    """How long a reload of one site takes amid many."""
    sites = {name: _to_be_looked_up(entry) for name, entry in entries.items()}
    name = next(iter(sites))
    one = BuiltSite(name, sites[name])
    workers = ("--workers", str(options.workers)) if options.workers > 1 else ()

    def edit_the_entry(number: int) -> None:
        env = {**one.entry["env"], "NUMBER": str(number)}
        gateway.write_sites({**sites, name: {**one.entry, "env": env}})

    edits: dict[str, Callable[[int], object]] = {
        "nothing new": lambda number: None,
        "its env_file": lambda number: Path(one.entry["env_file"]).write_text(f"N={number}\n"),
        "its entry": edit_the_entry,
    }
    with Gateway(home(), sites, options=(*OPTIONS, *workers)) as gateway:
        print(f"reload of one of {len(sites)} sites, {options.workers} workers, seconds")
        for what, edit in edits.items():
            took = []
            for number in range(options.rounds + 1):  # the first warms up
                edit(number)
                before = time.perf_counter()
                answer = gateway.operator().post("/_reload", params={"site": name}, timeout=300)
                took.append(time.perf_counter() - before)
                if answer.status_code != 200:
                    raise SystemExit(answer.text)
            listed = ", ".join(f"{seconds:.2f}" for seconds in took[1:])
            print(f"  {what}: {statistics.median(took[1:]):.2f} (rounds: {listed})", flush=True)
        many = _liveness(gateway, options.rounds)
    with Gateway(home(), {name: one.entry}, options=OPTIONS) as gateway:
        few = _liveness(gateway, options.rounds)
    print(f"liveness: {few * 1000:.2f} ms with one site, {many * 1000:.2f} ms with {len(sites)}\n")


def _to_be_looked_up(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry that leaves more to be read than its own lines."""
    env_file = Path(entry["path"]) / "site.env"
    env_file.write_text("FIRST=1\nSECOND=2\n")
    return {key: entry[key] for key in entry if key != "wsgi"} | {"env_file": str(env_file)}


def _liveness(gateway: Gateway, rounds: int) -> float:
    """Seconds that ``/_health`` takes without a token."""
    took = []
    visitor = gateway.client("localhost")
    for _ in range(rounds * 20):
        before = time.perf_counter()
        visitor.get("/_health").raise_for_status()
        took.append(time.perf_counter() - before)
    return statistics.median(took)


def _share(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


KINDS = {"start": start, "routing": routing, "budget": budget, "reload": reload}

if __name__ == "__main__":
    main()
