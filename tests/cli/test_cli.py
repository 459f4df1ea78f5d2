"""The command line: usage, exit status, what goes where."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
import os
SECRET_KEY = "k"
ALLOWED_HOSTS = [".example"]
ROOT_URLCONF = "urls"
TIME_ZONE = os.environ.get("TZ", "UTC")
"""
WSGI = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a gateway, with two sites; no ``GATEWAY_*`` of the tester's counts."""
    for name in list(os.environ):
        if name.startswith("GATEWAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for name in ("shop", "blog"):
        write_project(tmp_path / name)
    write_sites(tmp_path, shop={"path": "shop"}, blog={"path": "blog"})
    return tmp_path


def write_project(path: Path, settings: str = "") -> None:
    path.mkdir(exist_ok=True)
    (path / "settings.py").write_text(SETTINGS + settings)
    (path / "urls.py").write_text("urlpatterns = []\n")
    (path / "wsgi.py").write_text(WSGI)


def write_sites(folder: Path, **sites: dict[str, Any]) -> None:
    for name, entry in sites.items():
        entry.setdefault("hosts", [f"{name}.example"])
        entry.setdefault("wsgi", "wsgi")
    (folder / "sites.json").write_text(json.dumps({"sites": sites}))


def usage_error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


@pytest.mark.parametrize(
    "arguments",
    [(), ("chekc",), ("check", "--jsn"), ("check", "--timeout", "x"), ("check", "--timeout=-1")],
)
def test_wrong_usage_is_status_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert usage_error(capsys, *arguments).startswith("usage: gateway")


def test_a_site_that_does_not_exist_is_wrong_usage_and_the_nearest_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = usage_error(capsys, "check", "shpo")
    assert 'there is no site "shpo"; did you mean "shop"?' in message


def test_a_file_that_is_none_is_told_as_the_server_tells_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sites.json").write_text("{")
    assert main(["check"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sites.json cannot be used:\n  $: ")
    assert main(["check", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert document["faults"][0]["path"] == "$"
    assert document["sites"] == {}


def test_a_setting_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_THREADS", "many")
    assert main(["check"]) == 1
    assert "GATEWAY_THREADS: 'many'" in capsys.readouterr().err


def test_faults_of_the_file_fail_the_check_and_the_other_sites_are_checked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sites(folder, shop={"path": "shop"}, blog={"path": "nowhere"})
    assert main(["check"]) == 1
    text = capsys.readouterr().out
    assert text.startswith('sites.json cannot be used:\n  $.sites.blog.path: "nowhere": there is')
    assert "\nshop " in text
    assert text.endswith(": 1 fault, 0 warnings, 0 notes.\n")
    assert main(["check", "blog", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [fault["site"] for fault in document["faults"]] == ["blog"]
    assert document["sites"] == {}


def test_a_site_that_does_not_load_fails_the_check(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(folder / "blog", "raise ValueError('broken')")
    assert main(["check", "blog"]) == 1
    text = capsys.readouterr().out
    assert "does not load: ValueError: broken (settings.py, line 7)" in text
    assert "Traceback" not in text
    assert main(["check", "--verbose", "blog"]) == 1
    assert "    Traceback (most recent call last):" in capsys.readouterr().out


def test_sites_without_fault_are_status_0_in_the_order_they_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["SITE", "shop", "blog"]
    assert main(["check", "blog", "shop", "blog", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["sites"]) == ["blog", "shop"]
    assert document["ok"] is True


def run(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.Popen([sys.executable, "-m", "gateway", *arguments], env=environ, **options)


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals(folder: Path, environ: dict[str, str], coloured: bool) -> None:
    write_project(folder / "shop", "DEBUG = True\n")
    ours, theirs = pty.openpty()
    environ = {"TERM": "xterm", "NO_COLOR": "", **environ}
    with run("check", "shop", stdout=theirs, stderr=subprocess.PIPE, env=environ) as process:
        os.close(theirs)
        text = b""
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            try:
                while chunk := terminal.read(1000):
                    text += chunk
            except OSError:  # Linux says so when the other end is closed
                pass
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0
    assert (b"\x1b[33mwarning" in text) is coloured
    assert b"DEBUG is on" in text


def test_control_c_ends_the_check_and_its_processes(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    write_project(
        folder / "shop",
        f"import os, threading\nwith open({str(folder / 'fifo')!r}, 'w') as fifo:\n"
        "    fifo.write(str(os.getpid()))\nthreading.Event().wait()\n",
    )
    # Whoever runs the tests in the background of a shell has it ignore SIGINT.
    control_c = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipe = subprocess.PIPE
    with run("check", "shop", stdout=pipe, stderr=pipe, preexec_fn=control_c) as process:
        scratch = int((folder / "fifo").read_text())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")
    with pytest.raises(ProcessLookupError):
        os.kill(scratch, 0)


def test_who_reads_only_the_beginning_ends_it_quietly() -> None:
    with run("check", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("gateway ")
