"""What is asked of the servers.

The mixed loads stand in two sets: thresholds are tuned on ``TUNE`` alone, and which variant is
better is judged on ``HELD_OUT``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.request_path.wrk import Load


@dataclass(frozen=True)
class Scenario:
    """Loads that run at the same time."""

    name: str
    loads: tuple[Load, ...]


def _alone(name: str, path: str) -> tuple[Scenario, ...]:
    return tuple(Scenario(f"{name}, {count}", (Load(path, count),)) for count in (16, 64))


THROUGHPUT: Final = (
    *_alone("tiny", "/tiny/"),
    *_alone("orm", "/orm/"),
    *_alone("template", "/template/"),
    *_alone("stream", "/stream/100/"),
    Scenario("upload, 16", (Load("/upload/", 16, "POST", 100_000),)),
)

_BURN: Final = "/burn/"
_SLEEP: Final = "/sleep/100/"

TUNE: Final = (
    Scenario("64 sleepers", (Load(_SLEEP, 64),)),
    Scenario("8 burners", (Load(_BURN, 8),)),
    Scenario("32 sleepers, 8 burners", (Load(_SLEEP, 32), Load(_BURN, 8))),
    Scenario("4 tiny, 8 burners", (Load("/tiny/", 4), Load(_BURN, 8))),
    Scenario("4 tiny, 16 template", (Load("/tiny/", 4), Load("/template/", 16))),
)
HELD_OUT: Final = (
    Scenario("16 burn-sleep-burn", (Load("/burn-sleep-burn/", 16),)),
    Scenario("16 orm, 8 burners", (Load("/orm/", 16), Load(_BURN, 8))),
    Scenario("32 sleepers, 16 template", (Load(_SLEEP, 32), Load("/template/", 16))),
    Scenario("24 short sleepers, 4 burners", (Load("/sleep/20/", 24), Load(_BURN, 4))),
    Scenario("8 orm, 8 burn-sleep-burn", (Load("/orm/", 8), Load("/burn-sleep-burn/", 8))),
)
