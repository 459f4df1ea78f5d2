"""The gateway as a fixed pool: whatever comes runs at once, on as many threads as there are.

The same code but for one thing: the governor can see no thread's CPU, as on systems that do not
tell it, so it puts every request into the lane whose requests are not counted.
"""

from gateway.execution.governor import SystemClocks
from gateway.main import app

__all__ = ["app"]


def _blind(self: SystemClocks) -> tuple[int, int]:
    return 0, 0


SystemClocks.own = _blind  # type: ignore[method-assign]
