"""``make run``: what somebody sees who tries the gateway for the first time."""

from __future__ import annotations

import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clients import client_for
from .programs import Program, plain_environ
from .servers import REPOSITORY


class Run(Program):
    """The samples in a copy of the repository, served until Control-C."""

    stop_signal = signal.SIGINT

    def __init__(self, folder: Path) -> None:
        ignore = shutil.ignore_patterns("__pycache__", "db.sqlite3*", "media")
        for part in ("projects", "tools"):
            shutil.copytree(REPOSITORY / part, folder / part, ignore=ignore)
        shutil.copy(REPOSITORY / "sites.json", folder)
        super().__init__(
            [sys.executable, "tools/run.py", "--port", "0"],
            folder=folder,
            environ=plain_environ(PYTHONPATH=str(REPOSITORY)),
            log=folder / "run.log",
        )
        self.port = 0

    def is_ready(self) -> bool:
        if found := re.search(r"http://localhost:(\d+)/ +the sites", self.output):
            self.port = int(found[1])
        return bool(found)

    def status(self, host: str) -> int:
        with client_for(host, self.port) as client:
            return client.get("/").status_code


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Run]:
    """With an error in the code of one of the two."""
    run = Run(tmp_path)
    with (tmp_path / "projects/shop/core/urls.py").open("a") as urls:
        urls.write("import nothing_of_the_kind\n")
    run.start(run.is_ready)
    yield run
    run.stop()


def test_a_broken_sample_keeps_no_other_from_being_served(broken: Run) -> None:
    assert "shop could not be migrated" in broken.output
    assert broken.status("guestbook.localhost") == 200
    assert broken.status("shop.localhost") == 503


def test_it_ends_at_control_c_without_a_traceback(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.start(run.is_ready)
    assert run.status("shop.localhost") == 200
    assert run.stop() == 0
    assert "Traceback" not in run.output
