"""What a gateway holds, and whether it has given everything back at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from bench.everything.hostile import hung
from gateway.memory.figures import resident
from tests.integration.sites import BuiltSite
from tests.neighbours.gateways import DoomedGateway
from tests.neighbours.steady import meet, try_to_ask

PARTIES: Final = 66
"""How many requests of one generation run at the same time: not the last of its site, nor those on
the last eighth of the threads."""
REST: Final = 20.0
"""Seconds after which idle threads and seats are given up, with some to spare."""
_PATIENCE: Final = 180.0
_PAUSE: Final = 1.0
_FEW: Final = 4
"""Threads and descriptors that come and go."""
_GROWTH: Final = 1.25
_MARGIN: Final = 32.0
"""The factor and the megabytes by which the memory of a process may be above what it was."""


@dataclass(frozen=True)
class Held:
    """The most that one process holds."""

    threads: int
    descriptors: int
    megabytes: float

    @staticmethod
    def by(pids: Sequence[int]) -> Held:
        """The most that any of these processes holds; one that has ended holds nothing."""
        return Held(
            max((_entries(Path(f"/proc/{pid}/task")) for pid in pids), default=0),
            max((_entries(Path(f"/proc/{pid}/fd")) for pid in pids), default=0),
            max((resident(pid) for pid in pids), default=0) / (1 << 20),
        )

    def beyond(self, before: Held) -> list[str]:
        """What is held and was not held before."""
        bounds = Held(
            before.threads + _FEW,
            before.descriptors + _FEW,
            before.megabytes * _GROWTH + _MARGIN,
        )
        return [
            f"{what}: {now:.0f}, and {asdict(before)[what]:.0f} before"
            for what, now in asdict(self).items()
            if now > asdict(bounds)[what]
        ]


def pids_of(gateway: DoomedGateway, workers: int) -> list[int]:
    """The processes that serve."""
    return [gateway.pid] if workers == 1 else gateway.workers()


def kept(gateway: DoomedGateway, workers: int, before: Held) -> list[str]:
    """Wait until everything is given back; what was not, after some minutes.

    Garbage is collected in quiet moments only, so that nobody else should ask meanwhile.
    """
    deadline = time.monotonic() + _PATIENCE
    while found := _kept(gateway, workers, before):
        if gateway.ended or time.monotonic() > deadline:
            break
        time.sleep(_PAUSE)
    return found


def places_kept(gateway: DoomedGateway, meeting: BuiltSite) -> list[str]:
    """Whether as many requests as ever run at the same time. For one worker."""
    try:
        meet(gateway, meeting, PARTIES)
    except AssertionError as error:
        return [str(error)]
    return []


def _kept(gateway: DoomedGateway, workers: int, before: Held) -> list[str]:
    if gateway.ended:
        return ["the gateway has ended"]
    pids = pids_of(gateway, workers)
    if len(pids) != workers:
        return [f"{len(pids)} of {workers} workers are there"]
    try:
        health = gateway.health()
    except httpx.HTTPError as error:
        return [f"/_health: {error!r}"]
    found = [] if health["status"] == "ok" else [f"/_health is {health['status']}"]
    if count := hung(health):
        found.append(f"{count} requests hang")
    found += [
        f"{name} is {site['state']}"
        for name, site in _told(health)
        if site["state"] not in {"ready", "cold"}
    ]
    found += [
        f"{name} has {site['survivors']}" for name, site in _told(health) if site.get("survivors")
    ]
    found += Held.by(pids).beyond(before)
    return found


def _told(health: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What each worker says of each site."""
    told = [health["sites"], *(other["sites"] for other in health.get("workers", {}).values())]
    return [item for sites in told for item in sites.items()]


def _entries(folder: Path) -> int:
    try:
        return len(list(folder.iterdir()))
    except OSError:
        return 0


def answer_again(gateway: DoomedGateway, sites: Sequence[BuiltSite]) -> list[str]:
    """The sites that do not answer now."""
    answers = {site.name: try_to_ask(gateway, site, timeout=40) for site in sites}
    return [f"{name} answers {status}" for name, status in answers.items() if status != 200]
