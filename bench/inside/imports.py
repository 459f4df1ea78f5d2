"""Runs under plain Python and in a namespace; see ``../imports.py``. Prints its figures as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from asking import ask

LOOPS = 200_000
REQUESTS = 1_500


def a_module() -> None:
    import json  # noqa: F401


def from_a_module() -> None:
    from json import dumps  # noqa: F401


def a_submodule() -> None:
    import django.utils.html  # noqa: F401


def from_a_package() -> None:
    from django.utils import html  # noqa: F401


def several_names() -> None:
    from django.utils.html import escape, format_html, strip_tags  # noqa: F401


def nanoseconds(function: Callable[[], None]) -> float:
    """For one call, the best of five runs."""
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(LOOPS):
            function()
        best = min(best, time.perf_counter() - started)
    return best / LOOPS * 1e9


def microseconds_for_a_request() -> float:
    """The front page of the sample through its WSGI application, CPU time."""
    for _ in range(50):
        ask("/")
    started = time.process_time()
    for _ in range(REQUESTS):
        ask("/")
    return (time.process_time() - started) / REQUESTS * 1e6


FUNCTIONS = (a_module, from_a_module, a_submodule, from_a_package, several_names)
figures = {
    f"{function.__name__.replace('_', ' ')}, ns": nanoseconds(function) for function in FUNCTIONS
}
figures["a page of the sample, µs of CPU"] = microseconds_for_a_request()
print(json.dumps(figures))
