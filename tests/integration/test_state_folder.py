"""Gateways whose state folder is not theirs alone, or has something else in it than files."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.disk.statefolder import last_good_name, store_name

from .actions import front, reload
from .clients import client_for
from .programs import private_folder
from .servers import REPOSITORY, Gateway
from .sites import BuiltSite, tiny_site
from .waiting import until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
SEED = """
import pathlib, sys
from gateway.cluster.store.sqlite import SqliteStore
store = SqliteStore(pathlib.Path(sys.argv[1]))
store.order("mode", {"site": "healthy", "mode": "maintenance"}, "stranger", "stranger")
store.close()
"""


def _plant(folder: Path, sites: Path, stranger: BuiltSite) -> None:
    """A token, orders and sites of somebody else's, as they would be found if they counted."""
    folder.mkdir(exist_ok=True)
    (folder / "admin-token").write_text("planted\n")
    (folder / "admin-token").chmod(0o600)
    command = [sys.executable, "-c", SEED, folder / store_name(sites)]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    copy = json.dumps({"sites": {stranger.name: stranger.entry}})
    for name in ("last-good-sites.json", last_good_name(sites)):
        (folder / name).write_text(copy)
        (folder / name).chmod(0o600)


def _again(folder: Path, environ: Mapping[str, str] | None = None) -> Gateway:
    """A gateway that starts in a folder with a ``sites.json`` of which nothing can be made."""
    gateway = Gateway(folder, {}, environ)
    gateway.write_text("{")
    gateway.log.unlink(missing_ok=True)
    return gateway


def _status(gateway: Gateway, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return gateway.client("localhost", headers).get("/_history").status_code


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_what_was_planted_gives_no_orders_and_runs_no_code(
    healthy: BuiltSite, tmp_path: Path, workers: int, mode: int
) -> None:
    state = tmp_path / ".gateway"
    _plant(state, tmp_path / "sites.json", tiny_site(tmp_path, "stranger"))
    state.chmod(mode)
    options = ["--workers", str(workers)] if workers > 1 else []
    gateway = Gateway(tmp_path, {healthy.name: healthy.entry}, options=options)
    with gateway:
        assert front(gateway, healthy).status_code == 200
        assert _status(gateway, "planted") in {401, 403, 404}
        assert _status(gateway, gateway.token) == 200
        assert reload(gateway, healthy).status_code == 200
        told = gateway.client("localhost").get("/").text
        assert f".gateway/user-{os.geteuid()}/admin-token" in told
        assert "store" not in gateway.health()
    # Without a copy of our own, a broken file is answered by nobody's.
    (state / f"user-{os.geteuid()}" / last_good_name(gateway.sites_json)).unlink()
    again = _again(tmp_path)
    with pytest.raises(AssertionError, match="before it was ready"), again:
        pass
    assert "not JSON" in again.output


def test_a_gateway_does_not_start_with_the_sites_of_another(
    healthy: BuiltSite, tmp_path: Path
) -> None:
    environ = {"GATEWAY_STATE_DIR": str(tmp_path / ".gateway")}
    (tmp_path / "other").mkdir()
    with Gateway(tmp_path, {healthy.name: healthy.entry}, environ) as gateway:
        assert front(gateway, healthy).status_code == 200
        other = _again(tmp_path / "other", environ)
        with pytest.raises(AssertionError, match="before it was ready"), other:
            pass
        assert "not JSON" in other.output
        assert "Traceback" not in other.output
        assert gateway.health()["status"] == "ok"
    with _again(tmp_path, environ) as again:
        assert front(again, healthy).status_code == 200


def test_the_token_and_the_copy_of_an_earlier_version_go_on(
    healthy: BuiltSite, tmp_path: Path
) -> None:
    with Gateway(tmp_path, {healthy.name: healthy.entry}) as gateway:
        token = gateway.token
    state = tmp_path / ".gateway"
    (state / last_good_name(tmp_path / "sites.json")).rename(state / "last-good-sites.json")
    with _again(tmp_path) as gateway:
        assert gateway.token == token
        assert front(gateway, healthy).status_code == 200
        assert gateway.health()["status"] == "degraded"


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path) -> None:
    target = path.parent.parent / "target"
    path.rename(target)
    path.symlink_to(target)


def _foreign(path: Path) -> None:
    os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)


CHANGED = pytest.mark.parametrize("change", [_fifo, _link, pytest.param(_foreign, marks=as_root)])


@pytest.fixture
def used(healthy: BuiltSite, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that has left its state, and is not running."""
    with Gateway(tmp_path, {healthy.name: healthy.entry}) as gateway:
        assert front(gateway, healthy).status_code == 200
    gateway.log.unlink()
    yield gateway


@CHANGED
def test_a_token_that_cannot_be_trusted_ends_the_start_with_its_remedy(
    used: Gateway, healthy: BuiltSite, change: Callable[[Path], None]
) -> None:
    change(used.folder / ".gateway/admin-token")
    with pytest.raises(AssertionError, match="before it was ready"), used:
        pass
    assert "Traceback" not in used.output
    remedy = used.output.partition("remove it: ")[2].partition(";")[0]
    subprocess.run(remedy, shell=True, check=True)
    again = Gateway(used.folder, {healthy.name: healthy.entry})
    with again:
        assert front(again, healthy).status_code == 200
        assert again.health()["status"] == "ok"


@CHANGED
def test_without_a_store_that_can_be_trusted_sites_are_served(
    used: Gateway, healthy: BuiltSite, change: Callable[[Path], None]
) -> None:
    store = used.folder / ".gateway" / store_name(used.sites_json)
    change(store)
    with Gateway(used.folder, {healthy.name: healthy.entry}) as again:
        assert front(again, healthy).status_code == 200
        until(lambda: "store" in again.health(), "health tells of the store")
        assert "remove it" in again.health()["store"]
        subprocess.run(again.health()["store"].rpartition("remove it: ")[2], shell=True, check=True)
        until(lambda: "store" not in again.health(), "a new one was made")
        with closing(sqlite3.connect(store)) as opened:
            assert opened.execute("SELECT count(*) FROM workers").fetchone() == (1,)


@CHANGED
def test_without_a_copy_that_can_be_trusted_a_broken_file_ends_the_start(
    used: Gateway, change: Callable[[Path], None]
) -> None:
    change(used.folder / ".gateway" / last_good_name(used.sites_json))
    again = _again(used.folder)
    with pytest.raises(AssertionError, match="before it was ready"), again:
        pass
    assert "not JSON" in again.output
    assert "Traceback" not in again.output


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
@pytest.mark.parametrize("mode", [0o777, 0o2775, 0o755])
def test_another_user_starts_on_the_volume_of_a_platform(mode: int) -> None:
    # As on OpenShift: the volume is root's, and of a group that the process has.
    user = pwd.getpwnam("nobody")
    with private_folder("nobody") as folder:
        folder.chmod(0o755)
        site = tiny_site(folder, "tiny")
        shutil.chown(site.folder, user.pw_name)
        volume = folder / "volume"
        volume.mkdir()
        volume.chmod(mode)
        environ = {"GATEWAY_STATE_DIR": str(volume), "PYTHONDONTWRITEBYTECODE": "1"}
        gateway = Gateway(folder, {site.name: site.entry}, environ)
        # It may read the interpreter of whoever runs the tests, and write nothing of theirs.
        powers = "+dac_read_search"
        gateway.command[:0] = [
            "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--groups=0",
            f"--inh-caps={powers}", f"--ambient-caps={powers}",
        ]  # fmt: skip
        if mode == 0o755:
            with pytest.raises(AssertionError, match="before it was ready"), gateway:
                pass
            assert f"chown -h {user.pw_uid} {volume}" in gateway.output
            assert "Traceback" not in gateway.output
            gateway.environ["GATEWAY_ADMIN_TOKEN"] = "secret"
        with gateway:
            assert front(gateway, site).status_code == 200, gateway.tail()
            if mode == 0o755:
                assert _status(gateway, "secret") == 503
            else:
                token = volume / f"user-{user.pw_uid}" / "admin-token"
                assert token.stat().st_uid == user.pw_uid
                assert _status(gateway, token.read_text().strip()) == 200


def test_workers_have_one_token_after_the_state_folder_was_removed(
    healthy: BuiltSite, tmp_path: Path
) -> None:
    options = ["--workers", "3"]
    with Gateway(tmp_path, {healthy.name: healthy.entry}, options=options) as gateway:
        token = gateway.token
        state = tmp_path / ".gateway"
        first = until(lambda: _workers(gateway, token, 3), "three workers answer")
        shutil.rmtree(state)
        # Whoever looks first puts it back, so that a successor finds what the others have.
        until((state / "admin-token").exists, "the token is back")
        assert gateway.token == token
        os.kill(int(min(first).partition("-")[0]), signal.SIGKILL)
        until(lambda: _workers(gateway, token, 3) - first, "the successor answers")
        assert _status(gateway, token) == 200
        # One that an operator puts there counts for all.
        (state / "draft").write_text("another\n")
        (state / "draft").chmod(0o600)
        (state / "draft").replace(state / "admin-token")
        until(lambda: _workers(gateway, "another", 3), "all have the new one")
        until(lambda: {_status(gateway, token) for _ in range(12)} == {401}, "none has the old")


def test_health_tells_of_a_token_that_cannot_be_trusted_any_more(used: Gateway) -> None:
    with Gateway(used.folder, used.sites) as again:
        token = again.token
        (used.folder / ".gateway/admin-token").chmod(0o666)
        operator = again.client("localhost", {"Authorization": f"Bearer {token}"})
        told = until(lambda: _degraded(operator), "health tells of it")
        assert "others can write to it" in told["token"]
        assert token not in told["token"]
        assert again.client("localhost").get("/_health").json() == {"status": "degraded"}
        subprocess.run(
            told["token"].partition("remove it: ")[2].partition(";")[0], shell=True, check=True
        )
        until(lambda: operator.get("/_health").json()["status"] == "ok", "it is back")
        assert again.token == token


def _workers(gateway: Gateway, token: str, count: int) -> set[str]:
    """The workers, if as many take the token and know of each other; connections go to any."""
    found = set()
    for _ in range(30):
        with client_for("localhost", gateway.port, {"Authorization": f"Bearer {token}"}) as client:
            health = client.get("/_health").json()
        if "worker" in health:
            found.add(health["worker"])
    return found if len(found) == count else set()


def _degraded(operator: httpx.Client) -> dict[str, Any]:
    health: dict[str, Any] = operator.get("/_health").json()
    return health if "token" in health else {}
