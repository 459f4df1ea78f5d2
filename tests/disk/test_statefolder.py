"""The state folder: nothing that others could have put there counts."""

from __future__ import annotations

import fcntl
import logging
import os
import pwd
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.token import TokenError, obtain_token
from gateway.cluster.store import StoreError
from gateway.cluster.store.sqlite import SqliteStore, store_path
from gateway.config import ADMIN_HOSTS, LastGood
from gateway.config.file import SitesFile
from gateway.disk.statefolder import StateFolder, last_good_name
from gateway.disk.trustedfolder import StateError
from gateway.errors import ConfigError
from gateway.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
OWN = f"user-{os.geteuid()}"
LIMIT = 1000
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory(prefix="gateway-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def as_nobody(do: Callable[[], str]) -> str:
    """What a process of ``nobody`` says, or the error that it ends with."""
    source, sink = os.pipe()
    if not (pid := os.fork()):
        try:
            os.setgroups([])
            os.setgid(NOBODY.pw_gid)
            os.setuid(NOBODY.pw_uid)
            answer = do()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(sink, answer.encode())
        os._exit(0)
    os.close(sink)
    with os.fdopen(source) as answers:
        said = answers.read()
    os.waitpid(pid, 0)
    return said


# Whose folder it is


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o770, 0o1777, 0o2775])
def test_below_a_folder_that_others_can_write_to_is_one_of_our_own(state: Path, mode: int) -> None:
    state.chmod(mode)
    folder = StateFolder(state)
    folder.replace("it", b"content")
    assert folder.below() == OWN
    assert (state / OWN / "it").read_bytes() == b"content"
    assert (state / OWN).stat().st_mode & 0o777 == 0o700
    assert os.listdir(state) == [OWN]
    assert StateFolder(state).read("it", LIMIT) == b"content"


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o750])
def test_a_folder_that_only_we_can_write_to_is_used_itself(state: Path, mode: int) -> None:
    state.chmod(mode)
    StateFolder(state).replace("it", b"content")
    assert StateFolder(state).below() == ""
    assert os.listdir(state) == ["it"]


@as_root
def test_below_a_folder_of_somebody_else_is_one_of_our_own(state: Path) -> None:
    os.chown(state, NOBODY.pw_uid, NOBODY.pw_gid)
    (state / "it").write_text("planted")
    assert StateFolder(state).read("it", LIMIT) is None
    assert StateFolder(state).below() == OWN


@as_root
def test_every_user_has_a_folder_of_its_own_on_a_volume(reachable: Path) -> None:
    volume = reachable / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    folder = StateFolder(volume)
    folder.replace("it", b"ours")

    def use() -> str:
        found = folder.read("it", LIMIT)
        folder.replace("it", b"theirs")
        return f"{found} {folder.below()}"

    assert as_nobody(use) == f"None user-{NOBODY.pw_uid}"
    assert folder.read("it", LIMIT) == b"ours"


@as_root
def test_a_folder_that_cannot_be_used_is_named_with_its_remedy(reachable: Path) -> None:
    folder = reachable / "state"
    folder.mkdir(0o755)
    said = as_nobody(lambda: str(obtain_token(Settings(state_dir=folder))))
    assert said.startswith("TokenError: ")
    assert "it belongs to user 0" in said
    assert "Permission denied" in said
    assert "GATEWAY_ADMIN_TOKEN" in said
    # The remedy works as it is printed.
    (remedy,) = (part for part in said.split("; ") if "chown" in part)
    command = remedy.partition(": ")[2].partition(", or")[0]
    subprocess.run(command, shell=True, check=True)
    said = as_nobody(lambda: obtain_token(Settings(state_dir=folder)).shell)
    assert said == '$(cat "$GATEWAY_STATE_DIR/admin-token")'


def _foreign(path: Path) -> None:
    path.mkdir()
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)


def _open_to_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def _as_it_was_made(path: Path) -> tuple[float, ...]:
    """What its ``lstat`` says, but for when it was read (``st_atime``)."""
    found = tuple(path.lstat())
    return (*found[: stat.ST_ATIME], *found[stat.ST_ATIME + 1 :])


def _link(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.mkdir(mode=0o700)
    path.symlink_to(target)


@pytest.mark.parametrize(
    "plant", [pytest.param(_foreign, marks=as_root), _open_to_all, _link, os.mkfifo, Path.touch]
)
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_planted_folder_is_avoided(
    state: Path, plant: Callable[[Path], None], mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    state.chmod(mode)
    plant(state / OWN)
    planted = _as_it_was_made(state / OWN)
    StateFolder(state).replace("it", b"content")
    name = StateFolder(state).below()
    assert name.startswith(f"{OWN}-")
    assert f"{state / OWN} may be somebody else's" in caplog.text
    assert [state / name / "it"] == list(state.rglob("it"))
    assert stat.S_IMODE((state / name).stat().st_mode) == 0o700
    # It is found again, and no other one is made.
    assert StateFolder(state).read("it", LIMIT) == b"content"
    assert StateFolder(state).below() == name
    assert _as_it_was_made(state / OWN) == planted
    # Nothing that somebody else gives such a name to comes before it.
    (state / f"{OWN}-{'0' * 16}").touch()
    assert StateFolder(state).below() == name


def test_workers_that_made_two_folders_agree_on_one(state: Path) -> None:
    state.chmod(0o777)
    (state / OWN).touch()
    store = SqliteStore(store_path(state, Path("sites.json")))
    token = obtain_token(Settings(state_dir=state))
    assert store.changed()
    # The other worker made this one in the same moment.
    (state / f"{OWN}-{'0' * 16}").mkdir(mode=0o700)
    assert obtain_token(Settings(state_dir=state), token).secret == token.secret
    with pytest.raises(StoreError, match="removed or replaced"):
        store.changed()
    store.close()


def _swap(one: Path, other: Path) -> None:
    """Give two folders each other's name."""
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


@as_root
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("ours", [OWN, ""])
def test_a_folder_that_is_swapped_while_the_store_opens_gives_no_orders(
    reachable: Path, monkeypatch: pytest.MonkeyPatch, early: bool, ours: str
) -> None:
    path = store_path(reachable / "state", Path("sites.json"))
    (reachable / "state").mkdir(mode=0o700)
    (reachable if not ours else reachable / "state").chmod(0o777)
    folder = reachable / "state" / ours
    SqliteStore(path).close()
    # What he puts in its place: orders, for whatever path he can think of.
    (reachable / "mine").mkdir(mode=0o700)
    theirs = SqliteStore(reachable / "mine" / path.name)
    theirs.change_mode("shop", lambda _: "maintenance", "w", "a", 0)
    theirs.close()
    evil = folder.with_name("evil")
    for made in (evil, evil / "store", evil / "store" / ("0" * 32)):
        made.mkdir()
        for store in (reachable / "mine").rglob(path.name):
            shutil.copy(store, made)
    for made in (evil, *evil.rglob("*")):
        os.chown(made, NOBODY.pw_uid, NOBODY.pw_gid)
        made.chmod(0o777)
    before = sorted(map(str, evil.rglob("*")))

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        if early:
            _swap(folder, evil)
        connection = really(*args, **options)
        if not early:
            _swap(folder, evil)
        return connection

    really = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        with pytest.raises(StoreError, match=r"unable to open|I/O error") as raised:
            SqliteStore(path)
    _swap(folder, evil)
    assert sorted(map(str, evil.rglob("*"))) == before
    assert not [each for each in (reachable / "state").rglob("gateway*-*-*")]
    store = SqliteStore(path)
    assert store.modes() == {}
    (hidden,) = os.listdir(folder / "store")
    assert len(hidden) == 32
    assert hidden not in str(raised.value)
    assert (folder / "store").stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_uid for each in folder.rglob("*")} == {0}
    _swap(folder, evil)
    with pytest.raises(StoreError):
        store.changed()
    store.close()


def test_a_store_that_lies_where_others_can_move_it_is_taken_along(reachable: Path) -> None:
    state = reachable / "state"
    path = store_path(state, Path("sites.json"))
    store = SqliteStore(path)
    store.change_mode("shop", lambda _: "paused", "w", "a", 0)
    store.close()
    assert path.exists()
    reachable.chmod(0o777)
    for _ in range(2):
        store = SqliteStore(path)
        assert store.modes()["shop"].mode == "paused"
        assert not path.exists()
        store.close()
    # It stays there.
    reachable.chmod(0o755)
    store = SqliteStore(path)
    assert store.modes()["shop"].mode == "paused"
    store.close()


def test_a_hiding_place_that_others_can_list_is_refused_with_its_remedy(state: Path) -> None:
    state.parent.chmod(0o777)
    path = store_path(state, Path("sites.json"))
    SqliteStore(path).close()
    (state / "store").chmod(0o755)
    with pytest.raises(StoreError, match="could look into") as raised:
        SqliteStore(path)
    subprocess.run(str(raised.value).rpartition(": ")[2], shell=True, check=True)
    SqliteStore(path).close()


@as_root
def test_a_file_in_the_hiding_place_is_named_so_that_a_shell_finds_it(state: Path) -> None:
    state.chmod(0o777)
    path = store_path(state, Path("sites.json"))
    SqliteStore(path).close()
    (store,) = state.rglob(path.name)
    os.chown(store, NOBODY.pw_uid, -1)
    with pytest.raises(StoreError, match="remove it") as raised:
        SqliteStore(path)
    assert store.parent.name not in str(raised.value)
    subprocess.run(str(raised.value).rpartition(": ")[2], shell=True, check=True)
    assert not store.exists()
    SqliteStore(path).close()


@as_root
def test_all_files_beside_a_store_are_removed_by_one_command(state: Path) -> None:
    path = store_path(state, Path("sites.json"))
    for suffix in ("-wal", "-shm"):
        _of_another(path.with_name(path.name + suffix))
    with pytest.raises(StoreError, match="remove it") as raised:
        SqliteStore(path)
    subprocess.run(str(raised.value).rpartition(": ")[2], shell=True, check=True)
    SqliteStore(path).close()


@as_root
@pytest.mark.parametrize("path", ["link", "link/below"])
def test_a_link_in_the_folder_of_somebody_else_leads_nowhere(reachable: Path, path: str) -> None:
    theirs = reachable / "theirs"
    theirs.mkdir(mode=0o755)
    (reachable / "ours").mkdir(mode=0o700)
    (theirs / "link").symlink_to(reachable / "ours")
    for made in (theirs, theirs / "link"):
        os.lchown(made, NOBODY.pw_uid, NOBODY.pw_gid)
    with pytest.raises(StateError, match="may lead anywhere"):
        StateFolder(theirs / path).replace("it", b"content")
    assert os.listdir(reachable / "ours") == []


@as_root
def test_a_folder_that_others_can_move_is_not_to_be_given_away(reachable: Path) -> None:
    reachable.chmod(0o777)
    (reachable / "state").mkdir(mode=0o755)
    said = as_nobody(lambda: str(obtain_token(Settings(state_dir=reachable / "state"))))
    assert "Permission denied" in said
    assert "chown" not in said
    assert "GATEWAY_STATE_DIR" in said


@as_root
@pytest.mark.parametrize("below", [True, False])
def test_an_umask_that_takes_everything_takes_nothing_from_us(reachable: Path, below: bool) -> None:
    reachable.chmod(0o1777)
    state = reachable if below else reachable / "a/b"

    def start() -> str:
        os.umask(0o777)
        first = obtain_token(Settings(state_dir=state))
        SqliteStore(store_path(state, Path("sites.json"))).close()
        return str(first == obtain_token(Settings(state_dir=state)))

    assert as_nobody(start) == "True"
    (token,) = reachable.rglob("admin-token")
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700


@as_root
def test_a_link_that_others_could_make_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir(mode=0o700)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "state").symlink_to(tmp_path / "ours")
    # Our own link is an arrangement of ours.
    StateFolder(shared / "state").replace("it", b"content")
    assert (tmp_path / "ours/it").read_bytes() == b"content"
    os.lchown(shared / "state", NOBODY.pw_uid, NOBODY.pw_gid)
    for path in ("state", "state/below"):
        with pytest.raises(StateError, match="may lead anywhere"):
            StateFolder(shared / path).replace("other", b"content")
    assert os.listdir(tmp_path / "ours") == ["it"]
    # So is one in a folder where only its owner can make links.
    shared.chmod(0o755)
    StateFolder(shared / "state").replace("other", b"content")


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_what_is_made_is_for_its_owner_only(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        folder = StateFolder(tmp_path / "var/lib/state")
        folder.replace("it", b"content")
        folder.make_once("token", lambda: b"content", LIMIT)
        folder.prepare("store")
    finally:
        os.umask(before)
    for name in ("it", "token", "store"):
        assert stat.S_IMODE((tmp_path / "var/lib/state" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "var/lib/state").stat().st_mode) == 0o700
    assert not (tmp_path / "var").stat().st_mode & 0o022


def test_what_others_could_read_is_put_right(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    (state / "it").write_text("content")
    (state / "it").chmod(0o644)
    assert StateFolder(state).read("it", LIMIT) == b"content"
    assert stat.S_IMODE((state / "it").stat().st_mode) == 0o600
    assert "others could read" in caplog.text


# What is in it


def _link_to_ours(path: Path) -> None:
    target = path.parent.parent / "target"
    target.write_text("target\n")
    path.symlink_to(target)


def _dangling(path: Path) -> None:
    path.symlink_to(path.parent.parent / "target")


def _of_another(path: Path) -> None:
    path.write_text("planted\n")
    path.chmod(0o600)
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)


def _writable(path: Path) -> None:
    path.write_text("planted\n")
    path.chmod(0o620)


def _hard_link(path: Path) -> None:
    target = path.parent.parent / "target"
    target.write_text("target\n")
    target.chmod(0o600)
    path.hardlink_to(target)


def _endless(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))


PLANTED = pytest.mark.parametrize(
    "plant",
    [
        _link_to_ours,
        _dangling,
        _hard_link,
        pytest.param(_of_another, marks=as_root),
        _writable,
        os.mkfifo,
        Path.mkdir,
        pytest.param(_endless, marks=as_root),
    ],
)
Plant = Callable[[Path], None]


@PLANTED
def test_a_planted_token_gives_no_orders(state: Path, plant: Plant) -> None:
    plant(state / "admin-token")
    with pytest.raises(TokenError, match=r"remove it: rm -r ") as raised:
        obtain_token(Settings(state_dir=state))
    _untouched(state)
    command = str(raised.value).partition("remove it: ")[2].partition(";")[0]
    subprocess.run(command, shell=True, check=True)
    assert len(obtain_token(Settings(state_dir=state)).secret) > 32
    _untouched(state)


@PLANTED
def test_a_planted_draft_is_not_written_to(state: Path, plant: Plant) -> None:
    plant(state / ".admin-token.draft")
    with pytest.raises(TokenError, match="remove it"):
        obtain_token(Settings(state_dir=state))
    _untouched(state)


@PLANTED
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_a_planted_store_gives_no_orders(state: Path, plant: Plant, suffix: str) -> None:
    path = store_path(state, Path("sites.json"))
    plant(path.with_name(path.name + suffix))
    with pytest.raises(StoreError, match="remove it"):
        SqliteStore(path)
    _untouched(state)


@PLANTED
def test_a_planted_copy_runs_no_code(
    state: Path, plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    sites = state.parent / "sites.json"
    sites.write_text("{")
    copy = state / last_good_name(sites)
    plant(copy)
    with pytest.raises(ConfigError, match="not JSON"):
        SitesFile(sites, state, ADMIN_HOSTS).read_at_start()
    assert "remove it" in caplog.text
    # What is written takes the place of what was there, and goes through no link.
    if not copy.is_dir() or copy.is_symlink():
        LastGood(StateFolder(state), sites).save(b"new")
        assert copy.read_bytes() == b"new"
        assert not copy.is_symlink()
    _untouched(state)


def _untouched(state: Path) -> None:
    target = state.parent / "target"
    assert not target.exists() or target.read_text() == "target\n"


def test_what_stands_in_a_folder_that_others_can_write_to_does_not_count(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sites = state.parent / "sites.json"
    sites.write_text("{")
    (state / "admin-token").write_text("planted\n")
    (state / "admin-token").chmod(0o600)
    (state / last_good_name(sites)).write_text('{"sites": {}}')
    (state / "last-good-sites.json").write_text('{"sites": {}}')
    store = SqliteStore(store_path(state, sites))
    store.order("mode", {"site": "shop", "mode": "paused"}, "w", "a")
    store.close()
    state.chmod(0o777)
    before = {path.name: path.read_bytes() for path in state.iterdir()}

    assert obtain_token(Settings(state_dir=state)).secret != b"planted"
    assert "IS NOT USED ANY MORE" in caplog.text
    with pytest.raises(ConfigError, match="not JSON"):
        SitesFile(sites, state, ADMIN_HOSTS).read_at_start()
    store = SqliteStore(store_path(state, sites))
    assert store.modes() == {}
    store.close()
    after = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}
    assert after == before


def test_the_command_line_finds_the_token_in_the_folder_below(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.chmod(0o777)
    monkeypatch.chdir(state.parent)
    (state.parent / ".gateway").symlink_to(state)
    for settings in (Settings(), Settings(state_dir=state)):
        token = obtain_token(settings)
        shown = subprocess.run(
            f"echo {token.shell}",
            shell=True,
            env={"GATEWAY_STATE_DIR": str(state)},
            capture_output=True,
            check=True,
        )
        assert shown.stdout.strip() == token.secret
        assert str(state) not in token.shell


# Old installations


def test_what_an_earlier_version_has_left_goes_on_being_used(state: Path) -> None:
    sites = state.parent / "sites.json"
    sites.write_text("{")
    (state / "admin-token").write_text("theirs\n")
    (state / "admin-token").chmod(0o600)
    (state / "last-good-sites.json").write_text('{"sites": {}}')
    (state / "last-good-sites.json").chmod(0o600)
    # As it was: a key of the path, and the schema of version 1.
    SqliteStore(store_path(state, sites)).close()
    assert obtain_token(Settings(state_dir=state)).secret == b"theirs"
    config, faults = SitesFile(sites, state, ADMIN_HOSTS).read_at_start()
    assert (dict(config.sites), len(faults)) == ({}, 1)
    with pytest.raises(ConfigError):
        SitesFile(state.parent / "other.json", state, ADMIN_HOSTS).read_at_start()


# Made once, whatever happens


STEPS = """
import fcntl, os, sys
from pathlib import Path
from types import SimpleNamespace
from gateway.disk import statefolder, trustedfolder

last = int(sys.argv[2])

class Mortal:
    def __init__(self, module):
        self._module = module
    def __getattr__(self, name):
        found = getattr(self._module, name)
        if not callable(found) or isinstance(found, type):
            return found
        def step(*args, **kwargs):
            global last
            if last == 0:
                os._exit(9)
            last -= 1
            return found(*args, **kwargs)
        return step

def content():
    print("made", flush=True)
    return b"x" * 40 + b"\\n"

for module in statefolder, trustedfolder:
    module.os, module.fcntl = Mortal(os), Mortal(fcntl)
folder = statefolder.StateFolder(Path(sys.argv[1]))
content = folder.make_once("token", content, 1000)
os._exit(0 if len(content) == 41 else 8)
"""


@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_a_process_that_dies_between_two_steps_leaves_no_half_token(state: Path, mode: int) -> None:
    for step in range(200):
        shutil.rmtree(state)
        state.mkdir()
        state.chmod(mode)
        command = [sys.executable, "-c", STEPS, state]
        died = subprocess.run([*command, str(step)], cwd=ROOT, check=False)
        folder = StateFolder(state)
        left = folder.read("token", LIMIT)
        assert left is None or len(left) == 41
        expected = left or b"another"
        assert folder.make_once("token", lambda: b"another", LIMIT) == expected
        assert folder.make_once("token", lambda: b"a third", LIMIT) == expected
        if died.returncode == 0:
            break
        assert died.returncode == 9
    assert step > 15, "the steps were not found"


@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_processes_that_start_at_once_have_one_token(state: Path, mode: int) -> None:
    racer = (
        "import os, sys; from pathlib import Path;"
        "from gateway.disk.statefolder import StateFolder;"
        "sys.stdin.read();"
        "print(StateFolder(Path(sys.argv[1])).make_once('token', lambda: os.urandom(9).hex()"
        ".encode(), 99).decode())"
    )
    for _ in range(3):
        shutil.rmtree(state)
        state.mkdir()
        state.chmod(mode)
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", racer, state],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for _ in range(6)
        ]
        for one in racers:
            assert one.stdin is not None
            one.stdin.close()
        tokens = []
        for one in racers:
            assert one.stdout is not None
            tokens.append(one.stdout.read().strip())
            one.stdout.close()
            assert one.wait() == 0
        assert len(tokens[0]) == 18
        assert set(tokens) == {tokens[0]}
        (folder,) = {path.parent for path in state.rglob("token")}
        assert os.listdir(folder) == ["token"]


def test_no_hard_link_is_needed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    assert obtain_token(Settings(state_dir=state)) == obtain_token(Settings(state_dir=state))


# Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB; only root mounts one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_no_half_token(small_disk: Path) -> None:
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
        while True:
            filler.write(bytes(4096))
    with pytest.raises(TokenError, match="No space left"):
        obtain_token(Settings(state_dir=small_disk))
    assert os.listdir(small_disk) == ["filler"]
    with pytest.raises(StateError, match="No space left"):
        StateFolder(small_disk).replace("it", b"content")
    assert os.listdir(small_disk) == ["filler"]
    (small_disk / "filler").unlink()
    assert len(obtain_token(Settings(state_dir=small_disk)).secret) > 32


def test_what_is_there_is_read_from_a_disk_that_cannot_be_written(small_disk: Path) -> None:
    token = obtain_token(Settings(state_dir=small_disk / "state"))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert obtain_token(Settings(state_dir=small_disk / "state")) == token
    with pytest.raises(StateError, match="Read-only file system"):
        StateFolder(small_disk / "state").replace("it", b"content")


def test_the_store_keeps_its_locks_while_another_looks_at_it(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Closing a file takes a process' locks on it, whoever has them (fcntl_locking(2)).
    caplog.set_level(logging.WARNING)
    path = store_path(state, Path("sites.json"))
    first = SqliteStore(path)
    first._db.execute("BEGIN IMMEDIATE")
    StateFolder(state).prepare(path.name, f"{path.name}-wal", f"{path.name}-shm")
    other = subprocess.run(
        [sys.executable, "-c", f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0)"
         ".execute('BEGIN IMMEDIATE')"],
        capture_output=True,
        check=False,
    )  # fmt: skip
    assert b"locked" in other.stderr
    first._db.execute("ROLLBACK")
    first.close()
    assert not caplog.records
    sqlite3.connect(path).close()


def test_a_file_of_a_process_is_taken_only_when_the_process_has_ended(state: Path) -> None:
    folder = StateFolder(state)
    mine = folder.own("stacks-1.txt")
    os.write(mine, b"here")
    assert (state / "stacks-1.txt").stat().st_mode & 0o777 == 0o600
    assert folder.take_left("stacks-*.txt", LIMIT) == {}
    os.close(mine)
    (state / "other").write_text("no stacks")
    assert folder.take_left("stacks-*.txt", 3) == {"stacks-1.txt": "her"}
    assert folder.take_left("stacks-*.txt", LIMIT) == {}
    assert folder.names() == {"other"}


def test_a_file_is_owned_empty_and_removed(state: Path) -> None:
    folder = StateFolder(state)
    (state / "stacks-1.txt").write_text("of an earlier process")
    (state / "stacks-1.txt").chmod(0o600)
    mine = folder.own("stacks-1.txt")
    assert os.fstat(mine).st_size == 0
    folder.remove("stacks-1.txt")
    folder.remove("stacks-1.txt")
    os.close(mine)
    assert folder.names() == set()


def test_a_file_that_is_taken_while_it_is_made_is_made_again(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, flock = StateFolder(state), fcntl.flock

    def taken(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        assert folder.take_left("stacks-*.txt", LIMIT) == {"stacks-1.txt": ""}
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", taken)
    mine = folder.own("stacks-1.txt")
    assert folder.names() == {"stacks-1.txt"}
    os.close(mine)
