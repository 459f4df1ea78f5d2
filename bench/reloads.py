"""What reloads cost those who look on: a steady load on four sites, one of which is reloaded.

    python bench/reloads.py [--reloads 100] [--connections 32] [--pause 0.2]

One load generator beside a gateway on a real socket runs twice: with
reloads, and then for as long without any. Each response carries the version of
the code that made it; one that is older than what had been deployed and answered for before the
request was sent counts as stale. The deploys keep the size and the mtime of the file, as two of
them within one second would.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.integration.actions import reload
from tests.integration.servers import PROTOCOL, Gateway
from tests.integration.sites import BuiltSite, tiny_site

SITES = 4


@dataclass
class Load:
    """Connections that ask one after the other, spread over the sites."""

    port: int
    sites: list[BuiltSite]
    connections: int
    deployed: int = 0
    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    stale: int = 0

    def __enter__(self) -> Load:
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(self.sites[n % len(self.sites)],))
            for n in range(self.connections)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, site: BuiltSite) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        reloaded = site is self.sites[0]
        while not self._enough.is_set():
            admitted, started = self.deployed, time.perf_counter()
            try:
                connection.request("GET", "/", headers={"Host": site.host})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    raise http.client.HTTPException(f"status {answer.status}")
                if reloaded and int(json.loads(body)["release"]) < admitted:
                    self.stale += 1
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.errors.append(f"{site.name}: {error!r}")
                connection.close()
            else:
                self.milliseconds[site.name].append((time.perf_counter() - started) * 1000)
            time.sleep(0.05)  # steady, not as fast as possible: then a delay shows as one
        connection.close()


def deploy(site: BuiltSite, template: str, number: int) -> None:
    """Other code of the same size and age."""
    views = site.folder / "core/views.py"
    moment = views.stat().st_mtime_ns
    views.write_text(template.replace('RELEASE = "first"', f'RELEASE = "{number:05}"'))
    os.utime(views, ns=(moment, moment))


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--pause", type=float, default=0.2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sites = [tiny_site(folder, "deployed")]
        sites += [tiny_site(folder, f"other{number}") for number in range(1, SITES)]
        template = (sites[0].folder / "core/views.py").read_text()
        deploy(sites[0], template, 0)
        home = folder / "gateway"
        home.mkdir()
        entries = {site.name: site.entry for site in sites}
        with Gateway(home, entries, options=(*PROTOCOL, "--no-access-log")) as gateway:
            for site in sites:
                gateway.client(site.host).get("/").raise_for_status()
            took = []
            with Load(gateway.port, sites, options.connections) as with_reloads:
                started = time.perf_counter()
                for number in range(1, options.reloads + 1):
                    deploy(sites[0], template, number)
                    before = time.perf_counter()
                    answer = reload(gateway, sites[0])
                    took.append((time.perf_counter() - before) * 1000)
                    if answer.status_code != 200:
                        with_reloads.errors.append(answer.text)
                    with_reloads.deployed = number
                    time.sleep(options.pause)
                seconds = time.perf_counter() - started
            with Load(gateway.port, sites, options.connections) as without:
                without.deployed = options.reloads
                time.sleep(seconds)
    print(f"{options.reloads} reloads, median {statistics.median(took):.0f} ms, {seconds:.0f} s")
    print("| | requests | errors | stale | p50 | p99 | max (ms, the other sites) |")
    print("|---|---|---|---|---|---|---|")
    for label, load in {"without reloads": without, "with reloads": with_reloads}.items():
        others = sorted(ms for site in sites[1:] for ms in load.milliseconds[site.name])
        count = sum(map(len, load.milliseconds.values()))
        p50, p99 = others[len(others) // 2], others[int(len(others) * 0.99)]
        print(
            f"| {label} | {count} | {len(load.errors)} | {load.stale} "
            f"| {p50:.1f} | {p99:.1f} | {others[-1]:.1f} |"
        )
    raise SystemExit(bool(with_reloads.errors or with_reloads.stale))


if __name__ == "__main__":
    main()
