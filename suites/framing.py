"""Compare for as long as one likes: ``python -m suites.framing --minutes 60``."""

from __future__ import annotations

import argparse
import logging
import time
from collections import Counter

from hypothesis import HealthCheck, given, settings

from tests.framing.comparison import compare
from tests.framing.streams import STREAMS, segmentations

_AT_ONCE = 5000
"""Streams between two looks at the clock."""


def main() -> None:
    """Print how many streams there were, and how the two readers ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    logging.disable()  # a refusal is no news here
    ends: Counter[str] = Counter()

    @settings(
        max_examples=_AT_ONCE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(STREAMS.flatmap(segmentations))
    def some(segments: list[bytes]) -> None:
        ends[compare(segments)] += 1

    end = time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        some()
        print(f"{ends.total()} streams: {dict(ends.most_common())}", flush=True)


if __name__ == "__main__":
    main()
