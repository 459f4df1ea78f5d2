"""``make run``: what somebody sees who tries the gateway for the first time."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .clients import client_for
from .programs import Program, plain_environ
from .servers import REPOSITORY
from .sites import tiny_site


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

    def write_sites(self, sites: dict[str, Any]) -> None:
        """More sites beside the samples, or other entries for these."""
        document = json.loads((self.folder / "sites.json").read_text())
        document["sites"].update(sites)
        (self.folder / "sites.json").write_text(json.dumps(document))

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


def test_a_project_of_the_user_is_served_and_its_database_is_left_alone(tmp_path: Path) -> None:
    run = Run(tmp_path)
    sample = json.loads((tmp_path / "sites.json").read_text())["sites"]["guestbook"]
    # Beside the samples, outside of the repository, and a link in the place of a sample.
    folders = [tmp_path / "projects/mine", tmp_path / "elsewhere/mine", tmp_path / "shops/mine"]
    for folder in folders:
        shutil.copytree(REPOSITORY / "projects/guestbook", folder)
        (folder / "db.sqlite3").unlink(missing_ok=True)
    shutil.rmtree(tmp_path / "projects/shop")
    (tmp_path / "projects/shop").symlink_to(folders[2])
    run.write_sites(
        {
            f"mine{number}": {**sample, "path": str(path), "hosts": [f"mine{number}.localhost"]}
            for number, path in enumerate(folders)
        }
    )
    run.start(run.is_ready)
    try:
        assert re.findall("migrating (.*) …", run.output) == ["guestbook"]
        assert [(folder / "db.sqlite3").exists() for folder in folders] == [False] * 3
        assert run.status("guestbook.localhost") == 200
        # Served as it is, without its tables.
        assert run.status("mine0.localhost") == 500
        assert "could not be migrated" not in run.output
    finally:
        run.stop()


def test_a_sample_with_an_environment_of_its_own_is_its_owners(tmp_path: Path) -> None:
    run = Run(tmp_path)
    own = tmp_path / "own"
    venv.create(own, symlinks=True)
    sample = json.loads((tmp_path / "sites.json").read_text())["sites"]["shop"]
    run.write_sites({"shop": {**sample, "venv": str(own)}})
    run.start(run.is_ready)
    try:
        assert re.findall("migrating (.*) …", run.output) == ["guestbook"]
        assert run.status("guestbook.localhost") == 200
    finally:
        run.stop()


def test_one_faulty_site_keeps_no_other_from_being_served(tmp_path: Path) -> None:
    run = Run(tmp_path)
    mine = tiny_site(tmp_path / "elsewhere", "mine")
    run.write_sites({"faulty": {"pth": "nowhere"}, mine.name: dict(mine.entry)})
    run.start(run.is_ready)
    try:
        assert '$.sites.faulty.pth: unknown key; did you mean "path"?' in run.output
        assert "Traceback" not in run.output
        statuses = [run.status(f"{name}.localhost") for name in ("guestbook", "shop", "mine")]
        assert statuses == [200, 200, 200]
    finally:
        run.stop()


def test_a_file_that_is_no_json_is_said_in_a_sentence(tmp_path: Path) -> None:
    Run(tmp_path)
    (tmp_path / "sites.json").write_text("{")
    ended = subprocess.run(
        [sys.executable, "tools/run.py", "--port", "0"],
        cwd=tmp_path,
        env=plain_environ(PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    assert "sites.json cannot be used:\n  $: " in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_file_that_is_no_json_any_more_is_answered_by_the_last_good_copy(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.start(run.is_ready)
    run.stop()
    (tmp_path / "sites.json").write_text("{")
    again = Program(
        [sys.executable, "tools/run.py", "--port", "0"],
        folder=tmp_path,
        environ=plain_environ(PYTHONPATH=str(REPOSITORY)),
        log=tmp_path / "again.log",
    )
    again.stop_signal = signal.SIGINT
    again.start(lambda: "the sites and how they are" in again.output)
    try:
        assert "http://shop.localhost:" in again.output
        assert "CANNOT BE USED; serving the last good copy" in again.output
        assert "Traceback" not in again.output
    finally:
        again.stop()


def test_what_it_prints_can_be_opened(tmp_path: Path) -> None:
    run = Run(tmp_path)
    entry = dict(tiny_site(tmp_path / "elsewhere", "mine").entry)
    hosts = {
        "wild": ["*.wild.localhost"],
        "both": ["*.both.localhost", "both.localhost", "also.localhost"],
    }
    run.write_sites({name: {**entry, "hosts": of} for name, of in hosts.items()})
    run.start(run.is_ready)
    try:
        printed = re.findall(rf"^  http://(.*):{run.port}/$", run.output, re.MULTILINE)
        assert sorted(printed) == [
            "both.localhost",
            "guestbook.localhost",
            "shop.localhost",
            "www.wild.localhost",
        ]
        assert [run.status(host) for host in printed] == [200] * 4
    finally:
        run.stop()
