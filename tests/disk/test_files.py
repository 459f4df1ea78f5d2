"""What is read by names that people give: regular files, without waiting and within a size."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.admin.token import TokenError, obtain_token
from gateway.config import read_config_leniently
from gateway.config.discovery import DiscoveryError, find_wsgi
from gateway.disk.files import UnusableFileError, read_file, way_to
from gateway.errors import ConfigError
from gateway.settings import Settings
from gateway.sites import gate


def socket_at(path: Path) -> None:
    # Its address is short, whatever the folder is called.
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


IN_THE_WAY = pytest.mark.parametrize(
    ("put", "kind"),
    [
        (os.mkfifo, "FIFO"),
        (endless, "device"),
        (Path.mkdir, "directory"),
        (socket_at, "socket"),
    ],
    ids=["FIFO", "device", "directory", "socket"],
)
Put = Callable[[Path], None]


@IN_THE_WAY
def test_only_files_are_read(tmp_path: Path, put: Put, kind: str) -> None:
    put(tmp_path / "it")
    with pytest.raises(UnusableFileError, match=f"not a regular file but a {kind}"):
        read_file(tmp_path / "it", 10)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"0123456789")
    assert read_file(tmp_path / "it", 10) == b"0123456789"
    with pytest.raises(UnusableFileError, match="has 10 bytes, and 9 is the limit"):
        read_file(tmp_path / "it", 9)
    # The files of /proc say that they are empty.
    assert read_file(Path("/proc/self/stat"), 10_000)
    with pytest.raises(UnusableFileError, match="9 is the limit"):
        read_file(Path("/proc/self/stat"), 9)


@IN_THE_WAY
def test_a_sites_json_that_is_no_file_is_a_fault(tmp_path: Path, put: Put, kind: str) -> None:
    put(tmp_path / "sites.json")
    with pytest.raises(ConfigError, match="folder" if kind == "directory" else kind):
        read_config_leniently(tmp_path / "sites.json", environ={})


@IN_THE_WAY
def test_an_env_file_that_is_no_file_is_a_fault(tmp_path: Path, put: Put, kind: str) -> None:
    put(tmp_path / ".env")
    (tmp_path / "sites.json").write_text(
        '{"sites": {"x": {"hosts": ["x.example"], "path": ".", "wsgi": "w", "env_file": ".env"}}}'
    )
    (fault,) = read_config_leniently(tmp_path / "sites.json", environ={}).faults
    assert fault.path == "$.sites.x.env_file"
    assert f".env is not a file but a {kind}" in fault.message


@IN_THE_WAY
def test_a_token_file_that_is_no_file_is_an_error(tmp_path: Path, put: Put, kind: str) -> None:
    put(tmp_path / "token")
    with pytest.raises(TokenError, match=f"token is not a regular file but a {kind}"):
        obtain_token(Settings(admin_token_file=tmp_path / "token"))


@IN_THE_WAY
def test_a_manage_py_that_is_no_file_is_an_error(tmp_path: Path, put: Put, kind: str) -> None:
    put(tmp_path / "manage.py")
    with pytest.raises(DiscoveryError, match=f"not a regular file but a {kind}"):
        find_wsgi(tmp_path)


@IN_THE_WAY
def test_a_page_that_is_no_file_is_none(tmp_path: Path, put: Put, kind: str) -> None:
    put(tmp_path / gate.OWN_PAGE[0])
    assert gate.own_page(tmp_path) is None


def test_the_way_to_a_file_has_every_link(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "current").symlink_to("releases")
    (tmp_path / "releases/sites.json").symlink_to(tmp_path / "current/../shared.json")
    assert [Path(place) for place in way_to(str(tmp_path / "current/sites.json"))] == [
        tmp_path / "current",
        tmp_path / "releases/sites.json",
        tmp_path / "current",
        tmp_path / "shared.json",
    ]
