"""A file that is read again and again: what is remembered is what a first reading would find."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import sampled_from

from gateway.config import Config, Memory, read_config, read_config_leniently
from gateway.config.folders import parts_of_venv
from gateway.errors import ConfigError

AT_ONCE = -3600.0
"""Files are known when they are written; who uses this gives each version another time."""
NAMES = ("one", "two", "three")
MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings")\n'

opened: list[str] | None = None


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and opened is not None and isinstance(args[0], str | bytes | os.PathLike):
        opened.append(os.fsdecode(args[0]))


sys.addaudithook(_audit)


@contextmanager
def files_opened(below: Path) -> Iterator[list[str]]:
    """The files below a folder that are opened meanwhile, as the interpreter itself tells."""
    global opened
    found: list[str] = []
    opened = []
    try:
        yield found
    finally:
        found += [path for path in opened if Path(path).is_relative_to(below)]
        opened = None


def make_site(folder: Path) -> dict[str, Any]:
    """A project whose application has to be found, and its entry."""
    (folder / "core").mkdir(parents=True)
    for name in ("__init__.py", "settings.py", "wsgi.py"):
        (folder / "core" / name).write_text("")
    (folder / "manage.py").write_text(MANAGE)
    (folder / "env").write_text("A=1\n")
    return {
        "hosts": [f"{folder.name}.example"],
        "path": str(folder),
        "env_file": str(folder / "env"),
    }


@pytest.fixture
def many(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    entries = {f"site{n:02}": make_site(tmp_path / f"site{n:02}") for n in range(20)}
    source = tmp_path / "sites.json"
    source.write_text(json.dumps({"sites": entries}))
    return source, entries


Read = Callable[..., Config]


def reader(source: Path, memory: Memory) -> Read:
    return lambda names=(): read_config(source, environ={}, memory=memory, names=names)


@pytest.fixture
def read(many: tuple[Path, dict[str, Any]]) -> Read:
    return reader(many[0], Memory(AT_ONCE))


def test_files_that_have_not_changed_are_not_opened_again(
    many: tuple[Path, dict[str, Any]], read: Read
) -> None:
    source, entries = many
    with files_opened(source.parent) as found:
        before = read()
    assert len(found) == 1 + 3 * len(entries)
    with files_opened(source.parent) as found:
        again = read()
    assert found == [str(source)]
    assert all(again.sites[name] is before.sites[name] for name in entries)

    (source.parent / "site03" / "env").write_text("A=22\n")
    entries["site05"]["env"] = {"B": "2"}
    source.write_text(json.dumps({"sites": entries}))
    with files_opened(source.parent) as found:
        after = read()
    assert {Path(path).parent.name for path in found[1:]} == {"site03", "core", "site05"}
    changed = {name for name in entries if after.sites[name] != before.sites[name]}
    assert changed == {"site03", "site05"}


def test_a_file_that_has_just_been_written_is_not_trusted(
    many: tuple[Path, dict[str, Any]],
) -> None:
    """Two changes within a tick of the clock may look the same."""
    source, _ = many
    read = reader(source, Memory())
    read()
    with files_opened(source.parent) as found:
        read()
    assert len(found) > 1


def test_a_reading_for_some_sites_looks_at_their_files_only(
    many: tuple[Path, dict[str, Any]], read: Read
) -> None:
    source, entries = many
    folder = source.parent
    before = read()
    shutil.rmtree(folder / "site01")
    (folder / "site02" / "env").write_text("A=333\n")
    assert read(["site04"]).sites == before.sites
    source.write_text(source.read_text() + "\n")
    assert read(["site04"]).sites == before.sites
    # Of those that it is about, nothing is missed.
    assert read(["site02"]).sites["site02"].env["A"] == "333"
    with pytest.raises(ConfigError, match="site01"):
        read(["site01"])
    # A file that is known to have a fault is looked at as a whole, until it has none.
    with pytest.raises(ConfigError, match="site01"):
        read(["site04"])
    del entries["site01"]
    source.write_text(json.dumps({"sites": entries}))
    assert "site01" not in read(["site04"]).sites


def test_a_reading_for_some_sites_sees_every_edit_of_the_file(
    many: tuple[Path, dict[str, Any]], read: Read
) -> None:
    source, entries = many
    read()
    entries["site08"]["env"] = {"B": "2"}
    source.write_text(json.dumps({"sites": entries}))
    assert read(["site04"]).sites["site08"].env["B"] == "2"
    entries["site08"]["path"] = "nowhere"
    source.write_text(json.dumps({"sites": entries}))
    with pytest.raises(ConfigError, match="nowhere"):
        read(["site04"])
    entries["site08"]["path"] = entries["site07"]["path"]
    entries["site09"]["hosts"] = ["site01.example"]
    source.write_text(json.dumps({"sites": entries}))
    with pytest.raises(ConfigError, match="already served"):
        read(["site04"])


def test_a_value_of_another_type_is_another_one(
    many: tuple[Path, dict[str, Any]], read: Read
) -> None:
    """In Python ``1`` and ``true`` are equal."""
    source, entries = many
    for value, right in ((True, True), (1, False), (True, True), (0, False), (False, True)):
        entries["site01"]["preload"] = value
        source.write_text(json.dumps({"sites": entries}))
        if right:
            assert read().sites["site01"].preload is value
        else:
            with pytest.raises(ConfigError, match="preload"):
                read()


class Rereading(RuleBasedStateMachine):
    """Whatever is done to the files: who remembers finds what somebody finds who does not."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.entries = {name: make_site(self.folder / name) for name in NAMES}
        self.entries["one"]["venv"] = "venv"
        self.entries["two"]["wsgi"] = "core.settings.x"
        self.memory = Memory(AT_ONCE)
        self.ticks = 0
        self.environ: dict[str, str] = {}
        self.default: str | None = None
        self.spare: dict[str, Any] = {}
        self.write_sites()
        self.venv("nothing")

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def write_sites(self) -> None:
        document = {"sites": self.entries, "default_site": self.default}
        (self.folder / "sites.json").write_text(json.dumps(document))

    def write(self, path: Path, text: str) -> None:
        """Each version has another time, as it would if people did this."""
        if path.parent.is_dir():
            path.write_text(text)
            self.ticks += 1
            os.utime(path, (self.ticks, self.ticks))

    @rule(name=sampled_from(NAMES), text=sampled_from(["A=1\n", "A=2\n", "A", "A=${B}\n", "\0"]))
    def env_file(self, name: str, text: str) -> None:
        self.write(self.folder / name / "env", text)

    @rule(
        name=sampled_from(NAMES),
        file=sampled_from(["manage.py", "core/settings.py", "core/base.py", "other/settings.py"]),
        text=sampled_from(
            [
                "",
                MANAGE,
                MANAGE.replace("core", "other"),
                "from .base import *\n",
                'WSGI_APPLICATION = "core.wsgi.app"\n',
                "WSGI_APPLICATION = 1\n",
                "not Python\n",
            ]
        ),
    )
    def code(self, name: str, file: str, text: str) -> None:
        path = self.folder / name / file
        if path.parent.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
        self.write(path, text)

    @rule(
        name=sampled_from(NAMES),
        file=sampled_from(["env", "manage.py", "core/settings.py", "core/wsgi.py", "core", "."]),
    )
    def remove_or_bring_back(self, name: str, file: str) -> None:
        path, aside = self.folder / name / file, self.folder / f"{name} {file.replace('/', ' ')}"
        if file == ".":
            path = self.folder / name
        if aside.exists() and path.parent.is_dir():
            if path.is_dir():
                shutil.rmtree(path)
            aside.rename(path)
        elif path.exists():
            path.rename(aside)

    @rule(without=sampled_from(["nothing", "config", "python", "packages", "everything"]))
    def venv(self, without: str) -> None:
        venv = self.folder / "venv"
        config, python, packages = parts_of_venv(venv)
        packages.mkdir(parents=True, exist_ok=True)
        python.parent.mkdir(exist_ok=True)
        for path in (config, python):
            self.write(path, "")
        match without:
            case "config":
                config.unlink()
            case "python":
                python.unlink()
            case "packages":
                packages.rmdir()
            case "everything":
                shutil.rmtree(venv)

    @rule(
        name=sampled_from(NAMES),
        key=sampled_from(["wsgi", "venv", "env", "hosts", "preload", "limits", "probe_host"]),
        value=sampled_from(
            [
                "core.wsgi",
                "core.settings.x",
                "venv",
                {"A": "3"},
                {"A": "${X}"},
                ["two.example"],
                ["x.example"],
                True,
                1,
                {"concurrency": 4},
                "one.example",
                None,
            ]
        ),
    )
    def entry(self, name: str, key: str, value: object) -> None:
        if value is None:
            self.entries.get(name, {}).pop(key, None)
        elif name in self.entries:
            self.entries[name][key] = value
        self.write_sites()

    @rule(name=sampled_from(NAMES))
    def leave_or_come_back(self, name: str) -> None:
        if name in self.entries:
            self.spare[name] = self.entries.pop(name)
        else:
            self.entries[name] = self.spare.pop(name)
        self.write_sites()

    @rule(default=sampled_from([None, *NAMES]))
    def default_site(self, default: str | None) -> None:
        self.default = default
        self.write_sites()

    @rule(value=sampled_from(["", "1", "2"]))
    def surroundings(self, value: str) -> None:
        self.environ = {"X": value} if value else {}

    @invariant()
    def both_find_the_same(self) -> None:
        source = self.folder / "sites.json"
        for _ in range(2):
            again = read_config_leniently(source, environ=self.environ, memory=self.memory)
            assert again == read_config_leniently(source, environ=self.environ)


def test_what_is_remembered_is_what_would_be_found() -> None:
    Rereading.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
    Rereading.TestCase().runTest()
