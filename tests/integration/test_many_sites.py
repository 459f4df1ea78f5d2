"""Reloads of one site amid many: nothing that is wrong is missed where it counts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from .actions import front, reload
from .servers import Gateway
from .sites import BuiltSite, tiny_site
from .waiting import until

MANY = 300


def _crowd(folder: Path) -> dict[str, Any]:
    """Many sites of one project, each with an ``env_file``."""
    project = tiny_site(folder, "crowd")
    entries = {}
    for number in range(MANY):
        name = f"site{number:03}"
        env_file = folder / f"{name}.env"
        env_file.write_text("GREETING=first\n")
        entry = {key: value for key, value in project.entry.items() if key != "wsgi"}
        hosts = [f"{name}.localhost"]
        entries[name] = {**entry, "hosts": hosts, "env_file": str(env_file)}
    return entries


def _greeting(gateway: Gateway, site: BuiltSite) -> str:
    return str(front(gateway, site).json()["greeting"])


def test_a_site_is_reloaded_amid_many(tmp_path: Path) -> None:
    one, lost = tiny_site(tmp_path, "one"), tiny_site(tmp_path, "lost")
    crowd = _crowd(tmp_path)
    member = BuiltSite("site007", crowd["site007"])
    sites = {**crowd, **{site.name: site.entry for site in (one, lost)}}
    with Gateway(tmp_path, sites) as gateway:
        for site in (one, member):
            assert front(gateway, site).status_code == 200
        # The folder of another site is no hindrance; it is one for that site, and for all.
        shutil.rmtree(lost.folder)
        assert reload(gateway, one).status_code == 200
        assert reload(gateway, lost).status_code == 422
        assert "lost" in reload(gateway).json()["errors"][0]["path"]
        # Nor is it one when the file is known to have a fault.
        assert reload(gateway, one).status_code == 200
        until(lambda: gateway.health()["status"] == "degraded", "it says so")
        tiny_site(tmp_path, "lost")
        until(lambda: gateway.health()["status"] == "ok", "the watch has seen that it is back")
        assert reload(gateway, one).status_code == 200
        # What is in the files of the one that is named is in effect at once,
        Path(member.entry["env_file"]).write_text("GREETING=second\n")
        assert reload(gateway, member).status_code == 200
        assert _greeting(gateway, member) == "second"
        # and in those of others soon.
        Path(member.entry["env_file"]).write_text("GREETING=third\n")
        assert reload(gateway, one).status_code == 200
        until(lambda: _greeting(gateway, member) == "third", "the watch has seen the change")
