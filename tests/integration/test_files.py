"""What is no file takes the place of one that people name, and is mended by an edit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .actions import front
from .servers import Gateway
from .sites import BuiltSite, tiny_site
from .waiting import until

Serve = Callable[[BuiltSite], None]


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


IN_THE_WAY = pytest.mark.parametrize(
    ("put", "kind"),
    [(os.mkfifo, "FIFO"), (_endless, "device"), (Path.mkdir, "directory")],
    ids=["FIFO", "device", "directory"],
)


def _replace(path: Path, put: Callable[[Path], object]) -> None:
    draft = path.with_name(path.name + ".draft")
    put(draft)
    if path.is_dir() or draft.is_dir():
        path.rmdir() if path.is_dir() else path.unlink()
    draft.rename(path)


def _fault(gateway: Gateway, place: str) -> str:
    """What health tells about a place of ``sites.json``, as soon as it tells something."""

    def told() -> list[dict[str, Any]]:
        health = gateway.health()
        return [fault for fault in health.get("errors", ()) if fault["path"] == place]

    (fault,) = until(told, f"health tells of {place}")
    assert gateway.health()["status"] == "degraded"
    return str(fault["message"])


@IN_THE_WAY
def test_sites_json_is_seen_again_after_something_else_was_in_its_place(
    gateway: Gateway,
    healthy: BuiltSite,
    serve: Serve,
    tmp_path: Path,
    put: Callable[[Path], None],
    kind: str,
) -> None:
    site = tiny_site(tmp_path, "steady", GREETING="hello")
    serve(site)
    assert front(gateway, site).json()["greeting"] == "hello"
    good = gateway.sites_json.read_text()
    _replace(gateway.sites_json, put)
    message = _fault(gateway, "$")
    assert ("folder" if kind == "directory" else kind) in message
    assert front(gateway, site).json()["greeting"] == "hello"
    text = good.replace('"hello"', '"good evening"')
    _replace(gateway.sites_json, lambda path: path.write_text(text))
    until(lambda: gateway.health()["status"] == "ok", "the file is found to be good again")
    until(
        lambda: front(gateway, site).json()["greeting"] == "good evening",
        "the edit is in effect",
    )


@IN_THE_WAY
def test_an_env_file_is_seen_again_after_something_else_was_in_its_place(
    gateway: Gateway,
    healthy: BuiltSite,
    serve: Serve,
    tmp_path: Path,
    put: Callable[[Path], None],
    kind: str,
) -> None:
    site = tiny_site(tmp_path, "configured")
    env_file = tmp_path / "production.env"
    env_file.write_text("GREETING=hello\n")
    serve(BuiltSite(site.name, {**site.entry, "env_file": str(env_file)}))
    assert front(gateway, site).json()["greeting"] == "hello"
    _replace(env_file, put)
    message = _fault(gateway, "$.sites.configured.env_file")
    assert f"{env_file} is not a file but a {kind}" in message
    assert front(gateway, site).json()["greeting"] == "hello"
    _replace(env_file, lambda path: path.write_text("GREETING='good evening'\n"))
    until(
        lambda: front(gateway, site).json()["greeting"] == "good evening",
        "the new file is in effect",
    )
    assert gateway.health()["status"] == "ok"
    assert front(gateway, healthy).status_code == 200


def test_a_gateway_starts_although_an_env_file_is_none(healthy: BuiltSite, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")
    site = tiny_site(tmp_path, "configured")
    entry = {**site.entry, "env_file": str(tmp_path / ".env")}
    with Gateway(tmp_path, {healthy.name: healthy.entry, site.name: entry}) as gateway:
        assert front(gateway, healthy).status_code == 200
        assert front(gateway, site).status_code == 503
        assert "FIFO" in gateway.health("configured")["error"]
        (tmp_path / ".env").unlink()
        (tmp_path / ".env").write_text("GREETING=hello\n")
        until(lambda: front(gateway, site).status_code == 200, "the site is served")
