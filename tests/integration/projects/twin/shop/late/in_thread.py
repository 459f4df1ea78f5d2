"""Imported in threads that views start."""

import os

MARKER = "@MARKER@"


def from_environ() -> str:
    """What the environment says."""
    return os.environ["SITE"]
