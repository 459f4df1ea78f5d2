"""Watching ``sites.json``: real files, real events, every way in which tools write files."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config import ADMIN_HOSTS, Config
from gateway.config.file import SitesFile
from gateway.sites.registry import Registry
from gateway.sites.reloads import Reloads, Report
from gateway.upkeep.file_watch import Watch, _Contents, _folders

pytestmark = pytest.mark.anyio


class Watched(Registry):
    """A registry that says when it has followed its file.

    Reading the file fails with ``fault`` if there is one.
    """

    def __init__(self, file: SitesFile, backend: Any) -> None:
        config, faults = file.read_at_start()
        super().__init__(config, backend, faults=faults)
        self._file = file
        self.fault: Exception | None = None
        self.reloads = Reloads(self, self._read)
        self.applied: asyncio.Queue[Report | Exception] = asyncio.Queue()

    def _read(self, names: frozenset[str]) -> Config:
        if self.fault is not None:
            raise self.fault
        return self._file.read(names)

    async def refresh(self) -> Report:
        try:
            report = await self.reloads.refresh()
        except Exception as error:
            self.applied.put_nowait(error)
            raise
        self.applied.put_nowait(report)
        return report

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; only what the watch does can bring it about."""
        while not condition():
            await self.applied.get()

    def hosts(self, name: str = "shop") -> tuple[str, ...]:
        return self.site_status(name).hosts


def content(host: str, **more: Any) -> str:
    return json.dumps({"sites": {"shop": {"hosts": [host], "path": ".", "wsgi": "wsgi", **more}}})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sites.json").write_text(content("one.example"))
    return tmp_path


@pytest.fixture
async def watched(
    folder: Path, backend: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callable[..., Any]]:
    """Starts a watch of a file, by default ``sites.json`` in ``folder``."""
    started: list[Any] = []

    async def start(source: Path = folder / "sites.json", **options: Any) -> Watched:
        file = SitesFile(source, tmp_path_factory.mktemp("state"), ADMIN_HOSTS)
        registry = Watched(file, backend)
        watch = Watch(registry, registry.refresh, **options)
        await watch.__aenter__()
        started.append((registry, watch))
        await registry.applied.get()  # the first look
        return registry

    yield start
    for registry, watch in started:
        await watch.__aexit__(None, None, None)
        await registry.reloads.__aexit__(None, None, None)
        await registry.__aexit__(None, None, None)


def replace(path: Path, text: str) -> None:
    """Write as editors do: a new file takes the place of the old one."""
    draft = path.with_name(f".{path.name}.swp")
    draft.write_text(text)
    draft.replace(path)


async def test_a_wrong_file_changes_nothing_until_it_is_right(
    folder: Path, watched: Any, caplog: pytest.LogCaptureFixture
) -> None:
    registry = await watched()
    (folder / "sites.json").write_text("{")
    await registry.until(lambda: registry.faulty)
    assert registry.hosts() == ("one.example",)
    assert registry.status().degraded
    assert "not JSON" in caplog.text
    (folder / "sites.json").write_text(content("one.example"))
    await registry.until(lambda: not registry.faulty)
    assert registry.hosts() == ("one.example",)


async def test_a_file_that_goes_and_comes_back(folder: Path, watched: Any) -> None:
    registry = await watched()
    (folder / "sites.json").unlink()
    await registry.until(lambda: registry.faulty)
    assert registry.hosts() == ("one.example",)
    (folder / "sites.json").write_text(content("two.example"))
    await registry.until(lambda: registry.hosts() == ("two.example",))


async def test_a_fault_outside_the_files_heals(folder: Path, watched: Any) -> None:
    (folder / "sites.json").write_text(content("one.example", path="release"))
    registry = await watched()
    assert registry.faulty
    (folder / "release").mkdir()
    await registry.until(lambda: not registry.faulty)


@pytest.mark.parametrize("write", [Path.write_text, replace])
async def test_a_changed_file_is_applied(folder: Path, watched: Any, write: Any) -> None:
    registry = await watched()
    for host in ("two.example", "three.example"):
        write(folder / "sites.json", content(host))
        await registry.until(lambda host=host: registry.hosts() == (host,))


async def test_other_files_in_the_folder_and_the_same_contents_do_nothing(
    folder: Path, watched: Any
) -> None:
    registry = await watched()
    (folder / "db.sqlite3").write_text("x")
    replace(folder / "sites.json", content("one.example"))
    os.utime(folder / "sites.json")
    replace(folder / "sites.json", content("two.example"))
    await registry.until(lambda: registry.hosts() == ("two.example",))
    assert registry.applied.empty()


async def test_many_writes_are_one_reload(folder: Path, watched: Any, backend: Any) -> None:
    registry = await watched()
    await registry.find("one.example").load()
    for number in range(20):
        replace(folder / "sites.json", content(f"n{number}.example"))
    await registry.until(lambda: registry.hosts() == ("n19.example",))
    assert backend.loads == [("shop", 1), ("shop", 2)]


async def test_mounted_configuration_swaps_a_link(folder: Path, watched: Any) -> None:
    """The way of Kubernetes: ``sites.json`` → ``..data/sites.json``, ``..data`` → ``..2026``."""
    mount = folder / "mount"
    for release, host in (("..1", "one.example"), ("..2", "two.example"), ("..3", "three.example")):
        (mount / release).mkdir(parents=True)
        (mount / release / "sites.json").write_text(content(host))
    (mount / "..data").symlink_to("..1")
    (mount / "sites.json").symlink_to("..data/sites.json")
    registry = await watched(mount / "sites.json")
    for release, host in (("..2", "two.example"), ("..3", "three.example")):
        (mount / "..data_tmp").symlink_to(release)
        (mount / "..data_tmp").rename(mount / "..data")
        await registry.until(lambda host=host: registry.hosts() == (host,))


async def test_the_target_of_a_link_may_be_written_elsewhere(
    folder: Path, watched: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "real.json").write_text(content("one.example", path=str(folder)))
    (folder / "link.json").symlink_to(elsewhere / "real.json")
    registry = await watched(folder / "link.json")
    (elsewhere / "real.json").write_text(content("two.example", path=str(folder)))
    await registry.until(lambda: registry.hosts() == ("two.example",))


async def test_a_new_env_file_is_watched_too(folder: Path, watched: Any, backend: Any) -> None:
    (folder / "secrets").mkdir()
    registry = await watched()
    await registry.find("one.example").load()
    (folder / "secrets" / "env").write_text("COLOUR=red")
    (folder / "sites.json").write_text(content("one.example", env_file="secrets/env"))
    await registry.until(lambda: len(backend.loads) == 2)
    replace(folder / "secrets" / "env", "COLOUR=blue")
    await registry.until(lambda: len(backend.loads) == 3)
    assert [config.env.get("COLOUR") for config in backend.configs] == [None, "red", "blue"]


async def test_the_watch_survives_errors(
    folder: Path, watched: Any, caplog: pytest.LogCaptureFixture
) -> None:
    registry = await watched(poll_interval=1)
    registry.fault = ZeroDivisionError()
    (folder / "sites.json").write_text(content("two.example"))
    assert await registry.applied.get() is registry.fault
    registry.fault = None
    (folder / "sites.json").write_text(content("three.example"))
    await registry.until(lambda: registry.hosts() == ("three.example",))
    assert "it goes on" in caplog.text


async def test_leaving_does_not_wait_for_a_reload_that_hangs(
    folder: Path, watched: Any, backend: Any
) -> None:
    registry = await watched(stop_timeout=0)
    await registry.find("one.example").load()
    backend.hold("shop")
    (folder / "sites.json").write_text(content("two.example"))
    await backend.loading["shop"].wait()
    # What is shown is that the fixture comes to an end.


def test_folders_of_links_are_those_that_the_kernel_goes_through(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "a" / "releases" / "1").mkdir(parents=True)
    (root / "b").mkdir()
    (root / "a" / "current").symlink_to("releases/1")
    (root / "b" / "sites.json").symlink_to("../a/current/sites.json")
    found = set(map(Path, _folders([root / "b" / "sites.json"])))
    assert found == {root / "b", root / "a", root / "a" / "releases" / "1"}


def test_folders_that_do_not_exist_and_links_in_a_circle(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "circle").symlink_to("circle")
    assert _folders([root / "no" / "sites.json"]) == {}
    assert set(_folders([root / "circle" / "sites.json"])) == {str(root)}


def test_what_cannot_be_read_differs_from_what_is_empty(tmp_path: Path) -> None:
    contents = _Contents()
    missing = contents.digest([tmp_path / "env"])
    (tmp_path / "env").write_text("")
    assert contents.digest([tmp_path / "env"]) != missing
