"""``sites.json`` on disk and its last good copy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.config import ADMIN_HOSTS
from gateway.config.file import SitesFile
from gateway.disk.statefolder import last_good_name
from gateway.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    return tmp_path


@pytest.fixture
def file(folder: Path) -> SitesFile:
    return SitesFile(folder / "sites.json", folder / "state", ADMIN_HOSTS)


def copy_of(folder: Path) -> Path:
    return folder / "state" / last_good_name(folder / "sites.json")


def write(folder: Path, *, default: str | None = None, **sites: str) -> None:
    entries: dict[str, Any] = {
        name: {"hosts": [f"{name}.example"], "path": path, "wsgi": "wsgi"}
        for name, path in sites.items()
    }
    text = json.dumps({"sites": entries, "default_site": default})
    (folder / "sites.json").write_text(text)


def test_without_a_copy_a_broken_file_is_an_error(folder: Path, file: SitesFile) -> None:
    (folder / "sites.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        file.read_at_start()
    with pytest.raises(ConfigError, match="not JSON"):
        file.read()
    assert not copy_of(folder).exists()


def test_a_broken_copy_is_no_help(folder: Path, file: SitesFile) -> None:
    write(folder, shop="shop")
    file.read()
    copy_of(folder).write_text("[]")
    (folder / "sites.json").unlink()
    with pytest.raises(ConfigError, match="there is no file"):
        file.read_at_start()


def test_the_copy_serves_when_the_file_is_broken(
    folder: Path, file: SitesFile, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder, shop="shop")
    good = file.read()
    (folder / "sites.json").write_text("{")
    config, faults = file.read_at_start()
    assert config.sites == good.sites
    assert config.sites["shop"].path == folder / "shop"
    assert config.source == folder / "sites.json"
    assert config.watched == {folder / "sites.json"}
    assert len(faults) == 1
    assert "CANNOT BE USED" in caplog.text
    write(folder, shop="shop")
    assert file.read_at_start() == (good, ())


def test_only_a_file_without_faults_becomes_the_copy(folder: Path, file: SitesFile) -> None:
    write(folder, shop="shop")
    file.read_at_start()
    kept = copy_of(folder).read_bytes()
    write(folder, shop="shop", blog="missing")
    config, faults = file.read_at_start()
    assert list(config.sites) == ["shop"]
    assert list(config.faulty) == ["blog"]
    assert [fault.site for fault in faults] == ["blog"]
    assert [fault.site for fault in file.read().faults] == ["blog"]
    assert copy_of(folder).read_bytes() == kept


def test_a_copy_that_cannot_be_kept_is_a_warning(
    folder: Path, file: SitesFile, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "state").write_text("in the way")
    write(folder, shop="shop")
    assert list(file.read().sites) == ["shop"]
    assert "no copy" in caplog.text
