"""Reading ``sites.json``: what it means, and every way in which it can be wrong."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cluster.store.sqlite import store_path
from gateway.config import Config, LastGood, SiteConfig, read_config, read_config_leniently
from gateway.config.environment import interpolate
from gateway.config.faults import json_path
from gateway.config.limits import Limits
from gateway.config.reading import Memory
from gateway.disk.statefolder import StateFolder
from gateway.disk.trustedfolder import StateError
from gateway.errors import ConfigError

RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
ENVIRON = {"PATH": "/usr/bin", "HOME": "/home/gateway", "DB_PASSWORD": "hunter2", "EMPTY": ""}


class Folder:
    """A folder with a project and a ``sites.json`` in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = path / "sites.json"
        (path / "shop" / "core").mkdir(parents=True)
        (path / "shop" / "core" / "wsgi.py").touch()

    def write(self, text: str | bytes) -> None:
        self.source.write_bytes(text.encode() if isinstance(text, str) else text)

    def read(
        self, document: object, environ: Mapping[str, str] = ENVIRON, lenient: bool = False
    ) -> Config:
        self.write(json.dumps(document))
        read = read_config_leniently if lenient else read_config
        return read(self.source, environ=environ, admin_hosts=["admin.example"])

    def site(self, environ: Mapping[str, str] = ENVIRON, **changes: object) -> SiteConfig:
        return self.read({"sites": {"shop": entry(**changes)}}, environ).sites["shop"]

    def faults(self, document: object, **options: Any) -> dict[str, str]:
        """Read what has faults; return their messages by path."""
        with pytest.raises(ConfigError) as caught:
            self.read(document, **options)
        return messages(caught.value)

    def fault(self, path: str, /, **changes: object) -> str:
        """Read a site that has one fault, at this key of its entry; return the message."""
        faults = self.faults({"sites": {"shop": entry(**changes)}})
        assert list(faults) == [f"$.sites.shop{path}"]
        return faults[f"$.sites.shop{path}"]

    def make_venv(self, version: str = RUNNING) -> Path:
        venv = self.path / "venv"
        packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(venv)}))
        Path(str(packages).replace(f"python{RUNNING}", f"python{version}")).mkdir(parents=True)
        (venv / "bin").mkdir()
        (venv / "bin" / "python").symlink_to(sys.executable)
        (venv / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {version}.7\n")
        return venv


def entry(**changes: object) -> dict[str, object]:
    return {"hosts": ["shop.example"], "path": "shop", "wsgi": "core.wsgi", **changes}


def messages(error: ConfigError) -> dict[str, str]:
    assert len({fault.path for fault in error.faults}) == len(error.faults)
    return {fault.path: fault.message for fault in error.faults}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# What a file means


def test_no_sites_are_fine(folder: Folder) -> None:
    config = folder.read({"sites": {}})
    assert config == Config(
        sites={},
        default_site=None,
        source=folder.source,
        watched=frozenset({folder.source}),
        text=b'{"sites": {}}',
    )


def test_a_whole_entry(folder: Folder) -> None:
    (folder.path / ".env").write_text("FROM_FILE=1\n")
    venv = folder.make_venv()
    site = folder.site(
        hosts=["Shop.Example.", "*.shop.example", "münchen.example", "[0::9]"],
        wsgi="core.wsgi:app",
        env={"SECRET_KEY": "${SHOP_KEY:-dev}"},
        env_file=".env",
        venv="venv",
        preload=True,
    )
    assert site == SiteConfig(
        name="shop",
        hosts=("shop.example", "*.shop.example", "xn--mnchen-3ya.example", "[::9]"),
        path=folder.path / "shop",
        wsgi="core.wsgi:app",
        env={
            "PATH": f"{venv}/bin:/usr/bin",
            "HOME": "/home/gateway",
            "VIRTUAL_ENV": str(venv),
            "FROM_FILE": "1",
            "SECRET_KEY": "dev",
        },
        env_file=folder.path / ".env",
        venv=venv,
        preload=True,
    )


def test_the_dictionary_of_the_article_works_as_it_stands(folder: Folder) -> None:
    article = {
        "project-one.com": {
            "env": {"DJANGO_SETTINGS_MODULE": "core.settings"},
            "path": "shop",
            "wsgi": "core.wsgi",
        }
    }
    site = folder.read({"sites": article}).sites["project-one.com"]
    assert site.hosts == ("project-one.com",)
    assert site.wsgi == "core.wsgi:application"
    assert site.env["DJANGO_SETTINGS_MODULE"] == "core.settings"


def test_null_stands_for_a_key_left_out(folder: Folder) -> None:
    (folder.path / "shop" / "manage.py").write_text(
        'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings")\n'
    )
    (folder.path / "shop" / "core" / "settings.py").touch()
    document = {
        "sites": {"shop.example": entry(hosts=None, wsgi=None, env_file=None, venv=None)},
        "default_site": None,
    }
    site = folder.read(document).sites["shop.example"]
    assert (site.hosts, site.wsgi) == (("shop.example",), "core.wsgi:application")


def test_the_application_is_found_with_the_settings_that_env_names(folder: Folder) -> None:
    (folder.path / "shop" / "core" / "settings.py").write_text(
        'WSGI_APPLICATION = "core.server.app"\n'
    )
    (folder.path / ".env").write_text("DJANGO_SETTINGS_MODULE=core.settings\n")
    assert folder.site(wsgi=None, env_file=".env").wsgi == "core.server:app"


def test_sites_keep_the_order_of_the_file(folder: Folder) -> None:
    names = ["zebra.example", "apple.example", "mango.example"]
    config = folder.read({"sites": {name: entry(hosts=None) for name in names}})
    assert list(config.sites) == names


def test_the_default_site(folder: Folder) -> None:
    config = folder.read({"sites": {"shop": entry()}, "default_site": "shop"})
    assert config.default_site == "shop"


def test_paths_are_absolute_and_links_not_followed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.path / "current").symlink_to("shop")
    (folder.path / "conf").mkdir()
    link = folder.path / "conf" / "sites.json"
    link.symlink_to(folder.source)
    folder.write(json.dumps({"sites": {"shop": entry(path="../current")}}))
    monkeypatch.chdir(folder.path)
    config = read_config(Path("conf/sites.json"), environ=ENVIRON)
    assert config.source == link
    assert config.sites["shop"].path == folder.path / "conf" / ".." / "current"


def test_a_copy_is_read_with_the_paths_of_the_original(folder: Folder, tmp_path: Path) -> None:
    folder.write(json.dumps({"sites": {"shop": entry()}}))
    copy = tmp_path / "state" / "copy.json"
    copy.parent.mkdir()
    copy.write_bytes(folder.source.read_bytes())
    config = read_config(copy, environ=ENVIRON, base=folder.path)
    assert config.sites["shop"].path == folder.path / "shop"
    assert config.source == copy


def test_env_files_are_watched_whether_they_exist_or_not(folder: Folder) -> None:
    document = {"sites": {"shop": entry(env_file="shop/.env")}}
    config = folder.read(document, lenient=True)
    assert config.watched == {folder.source, folder.path / "shop" / ".env"}
    assert "shop" in config.faulty


def test_the_text_is_the_one_that_was_read(folder: Folder) -> None:
    folder.write(b'\xef\xbb\xbf{"sites": {}}\n')
    assert read_config(folder.source, environ={}).text == b'\xef\xbb\xbf{"sites": {}}\n'


def test_a_site_is_equal_to_itself_until_something_changes(folder: Folder) -> None:
    (folder.path / ".env").write_text("A=1\n")
    before = folder.site(env_file=".env")
    assert before == folder.site(env_file=".env")
    assert hash(before) == hash(folder.site(env_file=".env"))
    assert before != folder.site(env_file=".env", preload=True)
    (folder.path / ".env").write_text("A=2\n")
    assert before != folder.site(env_file=".env")


def test_a_site_does_not_change_and_does_not_show_its_secrets(folder: Folder) -> None:
    config = folder.read({"sites": {"shop": entry(env={"KEY": "${DB_PASSWORD}", "B": "s3cr3t"})}})
    site = config.sites["shop"]
    assert "hunter2" not in repr(config)
    assert "s3cr3t" not in repr(config)
    with pytest.raises(FrozenInstanceError):
        site.name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        site.env["KEY"] = "x"  # type: ignore[index]
    with pytest.raises(TypeError):
        config.sites["x"] = site  # type: ignore[index]


# Environment


def test_a_site_sees_a_small_part_of_the_gateways_environment(folder: Folder) -> None:
    seen = {
        "PATH": "/usr/bin",
        "HOME": "/home/gateway",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "Europe/Berlin",
        "TMPDIR": "/var/tmp",
        "SSL_CERT_FILE": "/etc/ssl/ca.pem",
    }
    hidden = {
        "GATEWAY_ADMIN_TOKEN": "x",
        "DJANGO_SETTINGS_MODULE": "other.settings",
        "DATABASE_URL": "x",
        "PYTHONPATH": "/x",
        "HTTPS_PROXY": "http://me:secret@proxy.example",
        "AWS_SECRET_ACCESS_KEY": "x",
        "XLC_ALL": "x",
    }
    assert folder.site(environ={**seen, **hidden}).env == seen


def test_env_wins_over_env_file_and_that_over_what_is_inherited(folder: Folder) -> None:
    (folder.path / ".env").write_text("HOME=/file\nTZ=UTC\nA=file\n")
    site = folder.site(
        environ={"HOME": "/gateway", "TZ": "CET", "LANG": "C"},
        env={"A": "env", "TZ": "EST"},
        env_file=".env",
    )
    assert site.env == {"LANG": "C", "HOME": "/file", "TZ": "EST", "A": "env"}


def test_a_venv_without_a_path_in_the_environment(folder: Folder) -> None:
    venv = folder.make_venv()
    assert folder.site(environ={}, venv="venv").env == {
        "PATH": f"{venv}/bin",
        "VIRTUAL_ENV": str(venv),
    }


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("plain", "plain"),
        ("", ""),
        ("${DB_PASSWORD}", "hunter2"),
        ("postgres://u:${DB_PASSWORD}@db/${NAME:-shop}", "postgres://u:hunter2@db/shop"),
        ("${DB_PASSWORD:-default}", "hunter2"),
        ("${EMPTY}", ""),
        ("${EMPTY:-default}", "default"),
        ("${NAME:-}", ""),
        ("${NAME:-a:-b $c}", "a:-b $c"),
        ("$DB_PASSWORD costs $5, $$", "$DB_PASSWORD costs $5, $$"),
        ("$${DB_PASSWORD}", "${DB_PASSWORD}"),
        ("pbkdf2_sha256$600000$salt$hash=", "pbkdf2_sha256$600000$salt$hash="),
        ("{DB_PASSWORD}", "{DB_PASSWORD}"),
    ],
)
def test_references_to_the_gateways_environment(folder: Folder, value: str, result: str) -> None:
    assert folder.site(env={"A": value}).env["A"] == result


@pytest.mark.parametrize(
    "value",
    [
        "${",
        "${}",
        "${1}",
        "${A B}",
        "${A-b}",
        "${A:+b}",
        "${A:?b}",
        "x ${A",
        "${A:-${DB_PASSWORD}}",
    ],
)
def test_a_reference_that_is_none(folder: Folder, value: str) -> None:
    message = folder.fault(".env.KEY", env={"KEY": value})
    assert "neither ${NAME} nor ${NAME:-default}" in message
    assert '"$${"' in message


def test_an_undefined_name_is_a_fault_with_the_remedy(folder: Folder) -> None:
    message = folder.fault(".env.KEY", env={"KEY": "s3cr3t ${NOT_SET}"})
    assert message == (
        "uses ${NOT_SET}, which is not set in the gateway's environment; set it there, "
        "or give a default: ${NOT_SET:-…}"
    )


def test_several_undefined_names_in_one_value_are_all_named(folder: Folder) -> None:
    folder.write(json.dumps({"sites": {"shop": entry(env={"KEY": "${ONE}${TWO}"})}}))
    with pytest.raises(ConfigError, match=r"\$\{ONE\}.*\n.*\$\{TWO\}"):
        read_config(folder.source, environ={})


@given(st.text())
def test_text_without_a_reference_stays_as_it_is(text: str) -> None:
    plain = text.replace("${", "").replace("\0", "")
    assert interpolate(plain, {}) == (plain, [])
    assert interpolate(plain.replace("$", "") + "$${", {}) == (plain.replace("$", "") + "${", [])


def test_the_syntax_of_env_file_is_the_one_of_python_dotenv(folder: Folder) -> None:
    (folder.path / ".env").write_text(
        "\ufeff# a comment\n"
        "export PLAIN=value # another\n"
        "SINGLE='a # b'\n"
        'DOUBLE="line\\nbreak"\n'
        "EMPTY_VALUE=\n"
        "NAME_ALONE\n"
        "ABOVE=${PLAIN}/${SINGLE}\n"
        "DEFAULT=${UNKNOWN:-fallback}\n"
        "HASH=pbkdf2$1$x\n",
        encoding="utf-8",
    )
    assert folder.site(environ={}, env_file=".env").env == {
        "PLAIN": "value",
        "SINGLE": "a # b",
        "DOUBLE": "line\nbreak",
        "EMPTY_VALUE": "",
        "ABOVE": "value/a # b",
        "DEFAULT": "fallback",
        "HASH": "pbkdf2$1$x",
    }


def test_env_file_refers_to_what_the_site_sees(folder: Folder) -> None:
    (folder.path / ".env").write_text("DB=file\nTZ=file\nALL=${DB} ${TZ} ${LANG} ${OWN}\n")
    site = folder.site(
        environ={"TZ": "gateway", "LANG": "gateway"},
        env={"DB": "env", "OWN": "env"},
        env_file=".env",
    )
    assert site.env["ALL"] == "env file gateway env"


def test_env_file_cannot_read_the_gateways_secrets(folder: Folder) -> None:
    (folder.path / ".env").write_text("\n# secrets\n\nSTOLEN=${GATEWAY_ADMIN_TOKEN}\n")
    document = {"sites": {"shop": entry(env_file=".env")}}
    faults = folder.faults(document, environ={"GATEWAY_ADMIN_TOKEN": "s3cr3t"})
    assert list(faults) == ["$.sites.shop.env_file"]
    (message,) = faults.values()
    assert "line 4: STOLEN uses ${GATEWAY_ADMIN_TOKEN}" in message
    assert "s3cr3t" not in message


def test_a_fault_in_env_is_not_repeated_for_env_file(folder: Folder) -> None:
    (folder.path / ".env").write_text("A=${UNSET}\nB=${NUMBER}\n")
    faults = folder.faults(
        {"sites": {"shop": entry(env={"UNSET": "${NO}", "NUMBER": 1}, env_file=".env")}}
    )
    assert list(faults) == ["$.sites.shop.env.NUMBER", "$.sites.shop.env.UNSET"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"A=1\n\nsecret stuff\n", "line 3 is not NAME=value"),
        (b"A=\xff\n", "is not UTF-8"),
        (b"A=\0\n", "NUL"),
        (b"A" * 1_000_001, "1000001 bytes"),
    ],
)
def test_a_wrong_env_file_is_named_and_not_shown(
    folder: Folder, content: bytes, complaint: str
) -> None:
    (folder.path / ".env").write_bytes(content)
    message = folder.fault(".env_file", env_file=".env")
    assert complaint in message
    assert str(folder.path / ".env") in message
    assert "secret" not in message


def test_a_fault_of_the_env_file_that_may_name_the_settings_brings_no_second_one(
    folder: Folder,
) -> None:
    message = folder.fault(".env_file", wsgi=None, env_file="missing.env")
    assert "there is no file" in message


# The file as a whole


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "the file is empty"),
        (b"{", "line 1, column 2"),
        (b'{"sites": {}\n,,}', "line 2, column "),
        (b"{'sites': {}}", "double quotes"),
        (b'{"sites": {},\n}', "no comma after the last"),
        (b'{"sites": {} // none yet\n}', "no comments"),
        (b'{"sites": NaN}', "NaN is not a number"),
        (b'{"sites": -Infinity}', "-Infinity is not a number"),
        (b'{"sites": {"\\ud800": {}}}', "half a character"),
        (b'{"sites": {}, "a": ' + b"1" * 5000 + b"}", "too many digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{\n"sites": "\xe4"}', "not UTF-8 on line 2"),
        (b'{"sites": {}}'.decode().encode("utf-16"), "not UTF-8"),
        (b"[]", "one object"),
        (b"null", "one object"),
    ],
)
@pytest.mark.parametrize("read", [read_config, read_config_leniently])
def test_what_is_not_json_is_refused(
    folder: Folder, read: Any, text: bytes, complaint: str
) -> None:
    folder.write(text)
    with pytest.raises(ConfigError) as caught:
        read(folder.source, environ={})
    assert list(messages(caught.value)) == ["$"]
    assert complaint in str(caught.value)
    assert caught.value.status == 422


def test_an_error_in_json_does_not_carry_the_text(folder: Folder) -> None:
    folder.write('{"sites": {"a.b": {"env": {"KEY": "s3cr3t" "B": 1}}}}')
    with pytest.raises(ConfigError) as caught:
        read_config(folder.source, environ={})
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("read", [read_config, read_config_leniently])
def test_sites_has_to_be_there_and_an_object(folder: Folder, read: Any) -> None:
    folder.write('{"shop.example": {"path": "shop"}}')
    with pytest.raises(ConfigError) as caught:
        read(folder.source, environ={})
    assert messages(caught.value) == {
        "$": 'the key "sites" is missing; add "sites": {"shop.example": {"path": "projects/shop"}}',
        '$["shop.example"]': 'unknown key; if "shop.example" is a site, move it into "sites"',
    }
    folder.write('{"sites": [{"path": "shop"}]}')
    with pytest.raises(ConfigError, match=r"must be an object such as .*, not a list"):
        read(folder.source, environ={})


def test_a_missing_file_comes_with_a_sample_that_works(folder: Folder) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(folder.source, environ={})
    message, _, sample = str(caught.value).partition("\n")
    assert f"there is no file {folder.source}" in message
    assert "GATEWAY_SITES" in message
    (folder.path / "projects" / "shop").mkdir(parents=True)
    (folder.path / "projects" / "shop" / "manage.py").write_text(
        'import os\nos.environ["DJANGO_SETTINGS_MODULE"] = "settings"\n'
    )
    (folder.path / "projects" / "shop" / "settings.py").touch()
    (folder.path / "projects" / "shop" / "wsgi.py").touch()
    folder.write(sample)
    assert list(read_config(folder.source, environ={}).sites) == ["shop.example"]


def test_what_is_not_a_file_that_can_be_read(folder: Folder) -> None:
    for source, complaint in [
        (folder.path, "is a folder"),
        (folder.path / "shop" / "core" / "wsgi.py" / "sites.json", "there is no file"),
        (Path("/dev/null"), "not a regular file"),
    ]:
        with pytest.raises(ConfigError, match=complaint):
            read_config(source, environ={})
    folder.source.symlink_to(folder.source)
    with pytest.raises(ConfigError, match=r"cannot be read .*; the gateway runs as user \d+"):
        read_config(folder.source, environ={})


def test_a_file_too_large_to_be_one(folder: Folder) -> None:
    folder.write(b"{}" + b" " * 10_000_000)
    with pytest.raises(ConfigError, match="10000002 bytes"):
        read_config(folder.source, environ={})


class Doors:
    """Folders that this process cannot enter, as if it were not root."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.closed: dict[Path, int] = {}
        real = os.stat

        def look(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
            text = os.fspath(path)
            for folder, code in self.closed.items():
                if isinstance(text, str) and text.startswith(f"{folder}/"):
                    raise OSError(code, os.strerror(code), text)
            return real(path, *args, **kwargs)

        monkeypatch.setattr(os, "stat", look)


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Doors:
    return Doors(monkeypatch)


@pytest.mark.parametrize("written", ["core.wsgi", "core.wsgi:app", "app", None])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_a_project_that_cannot_be_entered_is_a_fault_of_its_entry(
    folder: Folder, doors: Doors, written: str | None, code: int
) -> None:
    doors.closed[folder.path / "shop"] = code
    told = folder.fault(".path", wsgi=written)
    assert f"shop cannot be entered as user {os.geteuid()} ({os.strerror(code)})" in told


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, ".wsgi"),
        ({"wsgi": None, "env": {"DJANGO_SETTINGS_MODULE": "core.settings"}}, ""),
        ({"wsgi": None}, ""),
    ],
)
@pytest.mark.parametrize("code", [errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG])
def test_a_package_that_cannot_be_entered_is_a_fault_of_its_entry(
    folder: Folder, doors: Doors, changes: dict[str, object], key: str, code: int
) -> None:
    (folder.path / "shop" / "manage.py").write_text(
        "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'core.settings')\n"
    )
    doors.closed[folder.path / "shop" / "core"] = code
    told = folder.fault(key, **changes)
    assert f"__init__.py cannot be looked at as user {os.geteuid()} ({os.strerror(code)})" in told


@pytest.mark.parametrize("part", ["", "bin"])
def test_a_venv_that_cannot_be_entered_is_a_fault_of_its_entry(
    folder: Folder, doors: Doors, part: str
) -> None:
    doors.closed[folder.make_venv() / part] = errno.EACCES
    assert "cannot be looked at as user" in folder.fault(".venv", venv="venv")


def test_a_folder_that_can_be_entered_again_is_no_fault_any_more(
    folder: Folder, doors: Doors
) -> None:
    folder.write(json.dumps({"sites": {"shop": entry(wsgi="app")}}))
    memory = Memory(0.0)

    def faults() -> int:
        read = read_config_leniently(folder.source, environ=ENVIRON, memory=memory)
        return len(read.faults)

    for closed in (False, True, False):
        doors.closed = {folder.path / "shop": errno.EACCES} if closed else {}
        assert faults() == closed
        assert faults() == closed


@pytest.mark.parametrize("read", [read_config, read_config_leniently])
def test_a_file_that_everybody_can_write_is_refused(folder: Folder, read: Any) -> None:
    folder.write('{"sites": {}}')
    folder.source.chmod(0o666)
    with pytest.raises(ConfigError, match=f"everybody can write to .*chmod o-w {folder.source}"):
        read(folder.source, environ={})
    folder.source.chmod(0o664)
    read(folder.source, environ={})


def test_a_key_that_stands_twice_is_a_fault_wherever_it_is(folder: Folder) -> None:
    folder.write(
        """{"default_site": null, "default_site": null, "sites": {
            "a.example": {"path": "shop", "path": "shop", "wsgi": "core.wsgi",
                          "env": {"KEY": "s3cr3t", "KEY": "other"}},
            "b.example": {"path": "shop", "wsgi": "core.wsgi"},
            "b.example": {"path": "shop", "wsgi": "core.wsgi"}
        }}"""
    )
    with pytest.raises(ConfigError) as caught:
        read_config(folder.source, environ={})
    faults = messages(caught.value)
    assert set(faults) == {
        "$.default_site",
        '$.sites["a.example"].path',
        '$.sites["a.example"].env.KEY',
        '$.sites["b.example"]',
    }
    assert set(faults.values()) == {"this key stands here more than once; keep one of them"}
    assert [fault.site for fault in caught.value.faults] == [None, *["a.example"] * 2, "b.example"]


# Entries


@pytest.mark.parametrize(
    ("path", "changes", "complaint"),
    [
        (
            ".hosts",
            {"hosts": "a.b"},
            'a list such as ["shop.example", "*.shop.example"], not "a.b"',
        ),
        (".hosts", {"hosts": []}, "must not be empty"),
        (".hosts[1]", {"hosts": ["a.b", 5]}, "must be a string, not 5"),
        (".hosts[0]", {"hosts": [""]}, "must not be empty"),
        (".hosts[0]", {"hosts": ["my_shop.example"]}, '"my_shop.example" is not a host name: it'),
        (".hosts[0]", {"hosts": ["https://a.b"]}, "without https://"),
        (".hosts[0]", {"hosts": ["a.b:80"]}, "leave out the port"),
        (".hosts[0]", {"hosts": ["::1"]}, "in brackets"),
        (".hosts[0]", {"hosts": ["*"]}, '"default_site"'),
        (".hosts[0]", {"hosts": ["x" * 100 + ".example"]}, '"' + "x" * 60 + '…" is not'),
        (".hosts[1]", {"hosts": ["a.b", "A.B."]}, '"A.B." stands in $.sites.shop.hosts[0] already'),
        (".hosts[0]", {"hosts": ["LocalHost"]}, "gateway's own pages"),
        (".hosts[0]", {"hosts": ["[0:0::1]"]}, "gateway's own pages"),
        (".hosts[0]", {"hosts": ["admin.example"]}, "gateway's own pages"),
        ("", {"hosts": None}, 'has no "hosts", and "shop" is not a host name with a dot'),
        (".host", {"host": ["a.b"]}, 'unknown key; did you mean "hosts"?'),
        (".Venv", {"Venv": "s3cr3t"}, 'unknown key; did you mean "venv"?'),
        (".SECRET_KEY", {"SECRET_KEY": "s3cr3t"}, 'unknown key; known are "hosts", "path", "wsgi"'),
        (".path", {"path": 1}, 'must be a string such as "projects/shop", not 1'),
        (".path", {"path": ""}, 'must not be empty; write something like "projects/shop"'),
        (".path", {"path": "missing"}, '"missing": there is no folder /'),
        (".path", {"path": "~/shop"}, '"~" is not expanded'),
        (".path", {"path": "sites.json"}, "is not a folder"),
        (".path", {"path": "a\0b"}, "NUL"),
        (".path", {"path": "x" * 300}, "cannot be looked at"),
        (".wsgi", {"wsgi": "core/wsgi.py"}, '"core/wsgi.py" is not a module; write it with dots'),
        (".wsgi", {"wsgi": "core.wsgi:"}, "is not a module"),
        (".wsgi", {"wsgi": "core.wsgi:a.b"}, "is not a module"),
        (".wsgi", {"wsgi": "core..wsgi"}, "is not a module"),
        (".wsgi", {"wsgi": "core.wsgi.application"}, 'write "core.wsgi:application"'),
        ("", {"wsgi": None}, '"wsgi" is left out and cannot be found: there is no /'),
        (".env", {"env": ["A=s3cr3t"]}, ", not a list"),
        (".env", {"env": "A=s3cr3t"}, ", not a string"),
        (".env", {"env": None}, ", not null"),
        (".env.DEBUG", {"env": {"DEBUG": True}}, "not a boolean; put it in quotes"),
        (".env.PORT", {"env": {"PORT": 54321}}, "not a number; put it in quotes"),
        (".env.KEY", {"env": {"KEY": {"s3cr3t": 1}}}, "must be a string, not an object"),
        (".env.KEY", {"env": {"KEY": "s3cr3t\0"}}, "NUL"),
        ('.env["MY KEY"]', {"env": {"MY KEY": "s3cr3t"}}, "the name of a variable"),
        ('.env["A=s"]', {"env": {"A=s": "1"}}, "the name of a variable"),
        ('.env[""]', {"env": {"": "1"}}, "the name of a variable"),
        (".env_file", {"env_file": "missing.env"}, "there is no file /"),
        (".env_file", {"env_file": "shop"}, "is not a file"),
        (".venv", {"venv": "missing"}, "there is no folder /"),
        (".venv", {"venv": "shop"}, f"no pyvenv.cfg; make it again: python{RUNNING} -m venv"),
        (".venv", {"venv": True}, "must be a string"),
        (".preload", {"preload": "true"}, 'must be true or false, without quotes, not "true"'),
        (".preload", {"preload": 1}, "must be true or false, without quotes, not 1"),
        (".limits", {"limits": 5}, 'must be an object such as {"concurrency": 16'),
        (".limits.concurrency", {"limits": {"concurrency": "9"}}, "must be a whole number such as"),
        (".limits.concurrency", {"limits": {"concurrency": 0}}, "greater than or equal to 1"),
        (".limits.queue_wait", {"limits": {"queue_wait": True}}, "must be a number such as 10"),
        (".limits.max_boddy", {"limits": {"max_boddy": 9}}, 'did you mean "max_body"?'),
    ],
)
def test_a_fault_is_named_with_its_place_and_the_remedy(
    folder: Folder, path: str, changes: dict[str, object], complaint: str
) -> None:
    message = folder.fault(path, **changes)
    assert complaint in message
    assert "s3cr3t" not in message
    assert "54321" not in message


def test_a_number_that_is_too_large_to_be_one(folder: Folder) -> None:
    """In JSON it is a number, and no ``Retry-After`` can say it."""
    folder.write('{"sites": {"shop": {"path": "shop", "limits": {"queue_wait": 1e999}}}}')
    with pytest.raises(ConfigError) as caught:
        read_config(folder.source, environ={})
    fault = "$.sites.shop.limits.queue_wait: must be a finite number such as 10, not Infinity"
    assert fault in str(caught.value).splitlines()


def test_an_entry_that_is_none(folder: Folder) -> None:
    assert folder.faults({"sites": {"a.b": None, "c.d": {}, "e.f": "shop"}}) == {
        '$.sites["a.b"]': 'must be an object such as {"path": "projects/shop"}, not null',
        '$.sites["c.d"]': 'the key "path" is missing; add "path": "projects/shop"',
        '$.sites["e.f"]': 'must be an object such as {"path": "projects/shop"}, not "shop"',
    }


@pytest.mark.parametrize(
    "name",
    ["Shop", "my shop", "a..b", ".a", "-a", "_a", "a/b", "", "a" * 64, "münchen", "a\n", "../etc"],
)
def test_a_name_that_cannot_be_one(folder: Folder, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        folder.read({"sites": {name: entry()}})
    (fault,) = caught.value.faults
    assert fault.path == json_path(("sites", name))
    assert "cannot be the name of a site: a name has up to 63" in fault.message
    assert fault.site is None


@pytest.mark.parametrize("name", ["a", "0", "a" * 63, "a.b-c_d", "a--b", "a."])
def test_a_name_that_can_be_one(folder: Folder, name: str) -> None:
    assert list(folder.read({"sites": {name: entry()}}).sites) == [name]


def test_only_a_name_with_a_dot_is_a_host(folder: Folder) -> None:
    faults = folder.faults(
        {"sites": {name: entry(hosts=None) for name in ["guestbook", "v1.0", "a_b.c", "127.0.0.1"]}}
    )
    assert list(faults) == [
        "$.sites.guestbook",
        '$.sites["v1.0"]',
        '$.sites["a_b.c"]',
        '$.sites["127.0.0.1"]',
    ]
    assert "gateway's own" in faults['$.sites["127.0.0.1"]']


def test_keys_that_look_like_pydantics_own_marks(folder: Folder) -> None:
    assert folder.fault('.env["[key]"]', env={"[key]": 1}).startswith("must be a string")
    assert folder.fault('["[key]"]', **{"[key]": 1}).startswith("unknown key")


def test_one_host_cannot_have_two_sites(folder: Folder) -> None:
    faults = folder.faults(
        {
            "sites": {
                "shop": entry(hosts=["shop.example"]),
                "other": entry(hosts=["other.example", "SHOP.example."]),
                "other.example": entry(hosts=None),
                "wild": entry(hosts=["*.shop.example"]),
                "wilder": entry(hosts=["*.shop.example"]),
            }
        }
    )
    assert faults == {
        "$.sites.other.hosts[1]": '"shop.example" is already served by site "shop" '
        "($.sites.shop.hosts[0]); remove it from one of the two",
        '$.sites["other.example"]': '"other.example" is already served by site "other" '
        "($.sites.other.hosts[0]); remove it from one of the two",
        "$.sites.wilder.hosts[0]": '"*.shop.example" is already served by site "wild" '
        "($.sites.wild.hosts[0]); remove it from one of the two",
    }


def test_a_venv_for_another_python_is_refused_with_both_versions(folder: Folder) -> None:
    folder.make_venv("3.9")
    message = folder.fault(".venv", venv="venv")
    assert f"was made for Python 3.9, and the gateway runs {RUNNING}" in message
    assert f"python{RUNNING} -m venv --clear {folder.path}/venv" in message


def test_a_venv_of_an_unknown_python_is_refused(folder: Folder) -> None:
    (folder.make_venv("3.9") / "pyvenv.cfg").write_text("")
    assert "was made for Python unknown" in folder.fault(".venv", venv="venv")


def test_a_venv_whose_python_is_gone_is_refused(folder: Folder) -> None:
    python = folder.make_venv() / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert "points to a Python that is gone" in folder.fault(".venv", venv="venv")


@pytest.mark.parametrize(
    ("changes", "path", "complaint"),
    [
        ({"default_site": "shpo"}, "$.default_site", 'no site "shpo"; did you mean "shop"?'),
        ({"default_site": "x"}, "$.default_site", 'there is no site "x"; known are "shop"'),
        ({"default_site": ["shop"]}, "$.default_site", "must be a string"),
        ({"default_site": "My Shop"}, "$.default_site", "cannot be the name of a site"),
        ({"defaultsite": "shop"}, "$.defaultsite", 'did you mean "default_site"?'),
        ({"$schema": 1}, '$["$schema"]', "must be a string"),
        ({"x.y": {"path": "shop"}}, '$["x.y"]', 'if "x.y" is a site, move it into "sites"'),
    ],
)
def test_faults_of_the_top_level(
    folder: Folder, changes: dict[str, object], path: str, complaint: str
) -> None:
    document = {"sites": {"shop": entry()}, **changes}
    faults = folder.faults(document)
    assert list(faults) == [path]
    assert complaint in faults[path]
    # None of them takes a site down.
    config = folder.read(document, lenient=True)
    assert list(config.sites) == ["shop"]
    assert config.default_site is None
    assert [fault.site for fault in config.faults] == [None]


def test_of_many_sites_only_some_are_listed(folder: Folder) -> None:
    sites = {f"{i}.example": entry(hosts=None) for i in range(20)}
    message = folder.faults({"sites": sites, "default_site": "zzz"})["$.default_site"]
    assert message.endswith('"9.example", …')


# Everything at once


def test_type_faults_hide_no_others(folder: Folder) -> None:
    document = {
        "sites": {
            "one": entry(
                preload="yes",
                hosts=[1, "bad_host", "one.example"],
                path="missing",
                venv="shop",
                env={"N": 1, "U": "${UNSET}"},
                wsg="x",
            ),
            "two": entry(hosts=["one.example"], wsgi=3),
            "three": 3,
            "Four": entry(hosts=["one.example"], path="gone"),
        },
        "default_site": "five",
        "more": 1,
    }
    with pytest.raises(ConfigError) as caught:
        folder.read(document)
    assert {fault.path for fault in caught.value.faults} == {
        "$.sites.one.preload",
        "$.sites.one.hosts[0]",
        "$.sites.one.hosts[1]",
        "$.sites.one.path",
        "$.sites.one.venv",
        "$.sites.one.env.N",
        "$.sites.one.env.U",
        "$.sites.one.wsg",
        "$.sites.two.hosts[0]",
        "$.sites.two.wsgi",
        "$.sites.three",
        "$.sites.Four",
        "$.sites.Four.hosts[0]",
        "$.sites.Four.path",
        "$.default_site",
        "$.more",
    }
    # First those of the whole file, then site by site.
    owners = [fault.site for fault in caught.value.faults]
    assert owners == [*[None] * 5, *["one"] * 8, *["two"] * 2, "three"]
    assert str(caught.value).count("\n") == len(owners) - 1


def test_leniently_one_faulty_site_leaves_the_others_alone(folder: Folder) -> None:
    document = {
        "sites": {
            "good": entry(hosts=["good.example"]),
            "broken": entry(hosts=["broken.example", "bad_host", 1], path="missing"),
            "rival": entry(hosts=["good.example", "rival.example"]),
            "late": entry(hosts=["broken.example"]),
            "nothing.example": 1,
            "Bad Name": entry(hosts=["name.example"]),
        },
        "default_site": "broken",
        "unknown": 1,
    }
    config = folder.read(document, lenient=True)
    assert list(config.sites) == ["good"]
    assert {name: site.hosts for name, site in config.faulty.items()} == {
        # A host stays with the site that had it first, even if that one is faulty.
        "broken": ("broken.example",),
        "rival": ("rival.example",),
        "late": (),
        "nothing.example": (),
    }
    assert {fault.path for fault in config.faulty["broken"].faults} == {
        "$.sites.broken.hosts[1]",
        "$.sites.broken.hosts[2]",
        "$.sites.broken.path",
    }
    assert config.default_site == "broken"
    general = [fault.path for fault in config.faults if fault.site is None]
    assert general == ['$.sites["Bad Name"]', "$.unknown"]
    assert folder.faults(document) == {fault.path: fault.message for fault in config.faults}


def test_leniently_a_file_without_faults_is_the_same(folder: Folder) -> None:
    document = {"sites": {"shop": entry(env={"A": "1"})}, "default_site": "shop"}
    assert folder.read(document, lenient=True) == folder.read(document)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["sites", "shop", "hosts", "path", "wsgi", "env", "env_file", "venv"])
            | st.text(),
            inner,
            max_size=4,
        )
    ),
)


@given(document=JSON | st.fixed_dictionaries({"sites": st.dictionaries(st.text(), JSON)}))
def test_any_json_is_a_configuration_or_a_list_of_faults(
    tmp_path_factory: pytest.TempPathFactory, document: object
) -> None:
    source = tmp_path_factory.mktemp("any") / "sites.json"
    source.write_text(json.dumps(document))
    try:
        read_config(source, environ={})
    except ConfigError as error:
        assert error.faults
        assert str(error).encode()


@pytest.mark.parametrize(
    ("loc", "path"),
    [
        ((), "$"),
        (("sites", "shop", "hosts", 0), "$.sites.shop.hosts[0]"),
        (("sites", "project-one.com"), '$.sites["project-one.com"]'),
        (("sites", "_a1"), "$.sites._a1"),
        (("sites", "1a"), '$.sites["1a"]'),
        (("sites", 'a"b\n'), '$.sites["a\\"b\\n"]'),
        (("sites", "münchen"), '$.sites["münchen"]'),
    ],
)
def test_json_paths(loc: tuple[str | int, ...], path: str) -> None:
    assert json_path(loc) == path


# The last good copy


def last_good(state_dir: Path, sites: str = "sites.json") -> LastGood:
    return LastGood(StateFolder(state_dir), state_dir.parent / sites)


def test_the_last_good_copy_is_for_its_owner_only(tmp_path: Path) -> None:
    state_dir = tmp_path / "var" / "state"
    copy = last_good(state_dir)
    assert copy.read() is None
    copy.save(b'{"sites": {}}')
    assert copy.read() == copy.path.read_bytes() == b'{"sites": {}}'
    assert stat.S_IMODE(copy.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert read_config(copy.path, environ={}, base=tmp_path).sites == {}


def test_the_last_good_copy_is_replaced_as_a_whole(tmp_path: Path) -> None:
    copy = last_good(tmp_path)
    copy.save(b"old")
    with copy.path.open("rb") as reader:
        copy.save(b"new")
        assert reader.read() == b"old"
    assert copy.path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [copy.path]


def test_a_failure_leaves_the_copy_from_before_and_no_remains(tmp_path: Path) -> None:
    # A folder in the place of the copy is what os.replace cannot replace.
    copy = last_good(tmp_path)
    copy.path.mkdir()
    with pytest.raises(StateError):
        copy.save(b"new")
    assert list(tmp_path.iterdir()) == [copy.path]


def test_an_unusable_state_folder_is_an_error_of_the_state_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="GATEWAY_STATE_DIR"):
        last_good(tmp_path / "file").save(b"new")


def test_each_sites_json_has_a_copy_of_its_own(tmp_path: Path) -> None:
    last_good(tmp_path, "one.json").save(b"one")
    assert last_good(tmp_path, "two.json").read() is None
    last_good(tmp_path, "two.json").save(b"two")
    assert last_good(tmp_path, "one.json").read() == b"one"


def test_the_copy_of_an_earlier_version_goes_on_being_used(tmp_path: Path) -> None:
    # It had one name for all. The store tells whose it is.
    (tmp_path / "last-good-sites.json").write_bytes(b"old")
    assert last_good(tmp_path).read() is None
    store_path(tmp_path, tmp_path.parent / "sites.json").touch()
    assert last_good(tmp_path, "other.json").read() is None
    assert last_good(tmp_path).read() == b"old"
    assert not (tmp_path / "last-good-sites.json").exists()


def test_the_copy_of_an_earlier_version_is_nobodys_where_two_gateways_were(tmp_path: Path) -> None:
    (tmp_path / "last-good-sites.json").write_bytes(b"old")
    for sites in ("sites.json", "other.json"):
        store_path(tmp_path, tmp_path.parent / sites).touch()
    assert last_good(tmp_path).read() is None


def test_limits_of_a_site_come_before_those_of_the_file(folder: Folder) -> None:
    config = folder.read(
        {
            "limits": {"concurrency": 8, "request_timeout": 60, "max_body": None},
            "sites": {
                "one": entry(hosts=["one.example"]),
                "two": entry(
                    hosts=["two.example"], limits={"request_timeout": 0.5, "concurrency": None}
                ),
            },
        }
    )
    assert config.sites["one"].limits == Limits(concurrency=8, request_timeout=60)
    assert config.sites["two"].limits == Limits(concurrency=8, request_timeout=0.5)


def test_a_fault_in_the_limits_of_the_file_leaves_the_others(folder: Folder) -> None:
    limits = {"concurrency": 0, "queue_wait": "long", "queue_lenght": 5, "max_body": 10}
    config = folder.read(
        {"limits": limits, "sites": {"one": entry(hosts=["a.example"])}}, lenient=True
    )
    assert {fault.path for fault in config.faults} == {
        "$.limits.concurrency",
        "$.limits.queue_wait",
        "$.limits.queue_lenght",
    }
    assert config.sites["one"].limits == Limits(max_body=10)
