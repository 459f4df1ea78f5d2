"""Sites that do not come up, whatever they do instead of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.checks.report import SiteReport
from gateway.sites.masking import MASK

from .projects import check_all, project, said

BROKEN = {
    "missing": "import not_installed",
    "keyless": 'KEY = os.environ["PAYMENT_KEY"]',
    "syntax": "x = = 1",
    "exits": "import sys; sys.exit('no')",
    "leaves": "os._exit(3)",
    "replaced": "os.execv('/bin/false', ['false'])",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "killed": "import signal; os.kill(os.getpid(), signal.SIGKILL)",
    "endless": "raise ValueError('spam \\x1b[31m' * 100_000)",
    "secretive": "raise ValueError(os.environ['TOKEN'])",
    "unreadable": "raise ValueError('\\udcff')",
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, SiteReport]:
    folder = tmp_path_factory.mktemp("sites")
    env = {"TOKEN": "open-sesame"}
    sites = [project(folder, name, settings, env=env) for name, settings in BROKEN.items()]
    nowhere = project(folder, "nowhere")
    sites.append(replace(nowhere, wsgi="core.wsgi:app"))
    old = folder / "old-venv"
    (old / "lib/python3.7/site-packages").mkdir(parents=True)
    (old / "pyvenv.cfg").write_text("version = 3.7.17\n")
    sites.append(replace(project(folder, "old"), venv=old))
    return {report.site.name: report for report in check_all(*sites).sites}


@pytest.mark.parametrize(
    ("name", "beginning", "remedy"),
    [
        (
            "missing",
            "does not load: ModuleNotFoundError: No module named 'not_installed' (core/settings.py",
            "-m pip install",
        ),
        ("keyless", "does not load: KeyError: 'PAYMENT_KEY' (core/settings.py, line 8)", '"env"'),
        ("syntax", "does not load: SyntaxError: invalid syntax (settings.py, line 8)", "--verbose"),
        ("exits", "does not load: SystemExit: no", "--verbose"),
        ("leaves", "ends the process while the site was loaded, with status 3", "os._exit()"),
        ("replaced", "ends the process while the site was loaded, with status 1", "exec*()"),
        (
            "crashes",
            "crashes the process while the site was loaded: SIGSEGV (core/settings.py, line 8)",
            "gateway of its own",
        ),
        ("killed", "crashes the process while the site was loaded: SIGKILL", "memory"),
        ("endless", "does not load: ValueError: spam", "--verbose endless"),
        ("secretive", f"does not load: ValueError: {MASK} (core/settings.py", "--verbose"),
        ("unreadable", "does not load: ValueError: \udcff", "--verbose"),
        ("nowhere", "does not load: AttributeError: module 'core.wsgi' has no", "core.wsgi:app"),
        ("old", "does not load: the virtual environment", ""),
    ],
)
def test_a_site_that_does_not_load_is_a_fault_with_its_reason_and_remedy(
    reports: Mapping[str, SiteReport], name: str, beginning: str, remedy: str
) -> None:
    (finding,) = reports[name].findings
    assert finding.level.value == "fault"
    assert finding.code == "load"
    assert finding.what.startswith(beginning)
    assert remedy in finding.remedy


def test_where_it_crashed_and_failed_is_told_at_length(
    reports: Mapping[str, SiteReport],
) -> None:
    assert "in string_at" in reports["crashes"].outcome.stack
    assert 'KEY = os.environ["PAYMENT_KEY"]' in reports["keyless"].outcome.facts.traceback


def test_no_value_of_the_environment_is_told(reports: Mapping[str, SiteReport]) -> None:
    assert "open-sesame" not in repr(reports["secretive"].outcome)
    assert MASK in reports["secretive"].outcome.facts.traceback


def test_what_is_known_of_a_site_that_does_not_load_is_told(
    reports: Mapping[str, SiteReport],
) -> None:
    facts = reports["missing"].outcome.facts
    assert facts.python == ".".join(map(str, sys.version_info[:3]))
    assert facts.django is not None


def test_both_versions_of_python_are_named(reports: Mapping[str, SiteReport]) -> None:
    (text,) = said(reports["old"])
    assert "3.7.17" in text
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in text


@pytest.mark.timed
def test_a_site_that_hangs_is_given_up_after_its_time(tmp_path: Path) -> None:
    hanging = {
        "waits": "import threading; threading.Event().wait()",
        "holds-the-interpreter": "import ctypes; ctypes.PyDLL(None).sleep(1000)",
        "leaves-a-child": f"""
            import threading
            if not os.fork():
                os.setsid()
                open({str(tmp_path / "fifo")!r}).read()
                os._exit(0)
            threading.Event().wait()
            """,
    }
    os.mkfifo(tmp_path / "fifo")
    sites = [project(tmp_path, name, settings) for name, settings in hanging.items()]
    for report in check_all(*sites, limit=2.0).sites:
        (finding,) = report.findings
        assert finding.what.startswith("does not load: it was not up after 2 seconds")
        assert "--timeout 8" in finding.remedy
        assert "most recent call first" in report.outcome.stack
    # The child that left its session is there, holds the pipes, and ends now.
    os.close(os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK))


@pytest.mark.timed
def test_what_a_site_prints_is_limited_and_masked(tmp_path: Path) -> None:
    settings = """
    for number in range(50_000):
        print("x" * 100, number)
    print("the token is", os.environ["TOKEN"])
    TOKENS = input() if False else None
    """
    env = {"TOKEN": "open-sesame"}
    report = check_all(project(tmp_path, "shop", settings, env=env))
    assert said(report.sites[0]) == []
    output = report.sites[0].outcome.output
    assert output.endswith(f"{'x' * 100} 49999\nthe token is {MASK}\n")
    assert len(output) < 20_000
    # The first line is whole: half a secret could not be masked.
    assert output.startswith("x" * 100 + " ")


def test_a_site_cannot_wait_for_input_nor_answer_for_the_check(tmp_path: Path) -> None:
    settings = """
    try:
        input()
    except EOFError:
        print('{"stage": "done"}')
    """
    report = check_all(project(tmp_path, "shop", settings))
    assert said(report.sites[0]) == []
    assert report.sites[0].outcome.output == '{"stage": "done"}\n'
