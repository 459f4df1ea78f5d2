"""Whether this system lets a thread have a working directory of its own."""

from __future__ import annotations

import os
import threading

import pytest

from gateway.namespace import private_cwd


def threads_can_have_folders() -> bool:
    """Not under the default seccomp profiles of Docker and Kubernetes, for example."""
    allowed = []
    thread = threading.Thread(target=lambda: allowed.append(private_cwd(os.getcwd())))
    thread.start()
    thread.join()
    return allowed == [True]


needs_folders = pytest.mark.skipif(
    not threads_can_have_folders(), reason="no thread can have a working directory of its own here"
)
