"""Sites that come up, and what there is to say about them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.checks.report import Report, SiteReport

from .projects import SQLITE, check_all, project, said

POSTGRES = """
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": "shop", "USER": "shop",
    "PASSWORD": os.environ["DB_PASSWORD"], "HOST": "127.0.0.1", "PORT": "1",
    "OPTIONS": {"pool": True},
}}
"""

SETTINGS = {
    "fine": "",
    "debug": "DEBUG = True",
    "hosts": "",
    "closed-hosts": "ALLOWED_HOSTS = []",
    "debug-hosts": "ALLOWED_HOSTS = []; DEBUG = True",
    "signals": """
        import signal
        signal.signal(signal.SIGTERM, lambda *args: None)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        """,
    "patches": """
        import http.client, ssl, threading, xmlrpc.client
        start = threading.Thread.start
        def patched(self, *args): return start(self)
        threading.Thread.start = patched
        http.client.HTTPConnection.putrequest = patched
        xmlrpc.client.Transport.request = patched
        ssl._create_default_https_context = ssl._create_unverified_context
        """,
    "threads": """
        import atexit, threading
        threading.Thread(target=threading.Event().wait, name="scheduler").start()
        stop = threading.Event()
        threading.Thread(target=stop.wait, name="polite").start()
        atexit.register(stop.set)
        ended = threading.Thread(target=print)
        ended.start()
        ended.join()
        """,
    "fork": "os.register_at_fork(before=print)",
    "locale": "import locale; locale.setlocale(locale.LC_ALL, 'tlh_KL.UTF-8')",
    "recursion": "import sys; sys.setrecursionlimit(12345)",
    "zone": "TIME_ZONE = 'Pacific/Kiritimati'",
    "naive": "TIME_ZONE = 'Pacific/Kiritimati'; USE_TZ = False",
    "exits": "import atexit, threading; atexit.register(threading.Event().wait)",
    "no-file": SQLITE,
    "pending": SQLITE,
    "legacy": SQLITE.replace('"default"', '"default": {}, "old"'),
    "postgres": POSTGRES,
    "odd": """
        class Hosts(list):
            def __iter__(self): raise ValueError('odd')
        ALLOWED_HOSTS = Hosts()
        """,
    "crashes": "import atexit, ctypes; atexit.register(ctypes.string_at, 0)",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sites")


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    env = {"DB_PASSWORD": "open-sesame", "PGSSLMODE": "require", "PYTHONPATH": "/srv/lib"}
    sites = {
        name: project(folder, name, settings, env=env if name == "postgres" else {})
        for name, settings in SETTINGS.items()
    }
    sites["hosts"] = replace(
        sites["hosts"], hosts=("hosts.example", "other.test", "*.shop.test", "[2001:db8::1]")
    )
    sites["fine"] = replace(sites["fine"], hosts=("fine.example", "*.fine.example"))
    sites["debug-hosts"] = replace(sites["debug-hosts"], hosts=("shop.localhost",))
    for name in ("pending", "legacy"):
        with closing(sqlite3.connect(folder / name / "db.sqlite3")) as connection:
            connection.execute("create table something (id)")
    app = folder / "plain" / "app.py"
    app.parent.mkdir()
    app.write_text("application = print")
    sites["plain"] = replace(sites["fine"], name="plain", path=app.parent, wsgi="app:application")
    return check_all(*sites.values(), default_site="fine")


@pytest.fixture
def findings(report: Report) -> Callable[[str], list[str]]:
    by_name = {site.site.name: said(site) for site in report.sites}
    return by_name.__getitem__


@pytest.fixture(scope="module")
def reports(report: Report) -> Mapping[str, SiteReport]:
    return {site.site.name: site for site in report.sites}


def test_all_of_them_load(report: Report) -> None:
    assert [site.site.name for site in report.sites if not site.outcome.facts.loaded] == []


@pytest.mark.parametrize("name", ["fork", "plain"])
def test_what_does_no_harm_is_not_mentioned(
    findings: Callable[[str], list[str]], name: str
) -> None:
    assert findings(name) == []


@pytest.mark.parametrize(
    ("name", "level", "code", "words"),
    [
        ("fine", "note", "hosts", ["default site", "400", '"default_site"']),
        ("debug", "warning", "debug", ["DEBUG is on", "DEBUG = False"]),
        ("hosts", "fault", "hosts", ["other.test, *.shop.test, [2001", '"other.test", ".shop.t']),
        ("closed-hosts", "fault", "hosts", ["closed-hosts.example", "ALLOWED_HOSTS"]),
        ("signals", "warning", "signals", ["SIGTERM:", "atexit"]),
        ("locale", "warning", "locale", ["LC_ALL to tlh_KL.UTF-8", "no effect"]),
        ("recursion", "warning", "process", ["recursion limit", "to 12345"]),
        ("zone", "note", "time-zone", ["Pacific/Kiritimati", "TZ=Pacific/Kiritimati"]),
        ("naive", "warning", "time-zone", ["USE_TZ = False", "TZ=Pacific/Kiritimati"]),
        ("exits", "warning", "unload", ["atexit", "do not come to an end"]),
        ("no-file", "warning", "database", ["does not exist yet", "manage.py migrate"]),
        ("pending", "warning", "migrations", ["2 migrations", "contenttypes.0001_initial"]),
        ("odd", "warning", "unanswered", ["ALLOWED_HOSTS: ValueError: odd"]),
        ("crashes", "fault", "load", ["when the site was unloaded: SIGSEGV"]),
    ],
)
def test_there_is_one_finding_with_its_remedy(
    findings: Callable[[str], list[str]], name: str, level: str, code: str, words: list[str]
) -> None:
    (text,) = findings(name)
    assert text.startswith(f"{level} {code}: ")
    for word in words:
        assert word in text


def test_with_debug_the_local_hosts_are_let_in_as_django_does(
    findings: Callable[[str], list[str]],
) -> None:
    (text,) = findings("debug-hosts")
    assert text.startswith("warning debug:")


def test_patches_of_shared_code_are_told_apart_by_who_is_concerned(
    findings: Callable[[str], list[str]],
) -> None:
    common, own = findings("patches")
    assert common.startswith("warning patches: ")
    assert "for all sites: ssl._create_default_https_context (now from ssl)" in common
    assert own.startswith("note patches: ")
    for target in ("Thread.start", "HTTPConnection.putrequest", "xmlrpc.client.Transport.request"):
        assert target in own


def test_threads_that_stay_are_told_from_those_that_end_with_the_site(
    findings: Callable[[str], list[str]],
) -> None:
    staying, others = findings("threads")
    assert staying.startswith("warning threads: ")
    assert "unloaded: scheduler =>" in staying
    assert others.startswith("note threads: ")
    assert "imported: polite =>" in others


def test_a_database_that_is_down_is_a_warning_and_tells_no_password(
    findings: Callable[[str], list[str]], reports: Mapping[str, SiteReport]
) -> None:
    (text,) = [text for text in findings("postgres") if " database: " in text]
    assert text.startswith("warning")
    assert "OperationalError" in text
    assert "open-sesame" not in repr(reports["postgres"].outcome)


def test_variables_that_never_reach_who_reads_them_are_named(
    findings: Callable[[str], list[str]],
) -> None:
    texts = [text for text in findings("postgres") if " c-environment: " in text]
    assert [text.split(": ")[1] for text in texts] == ["PGSSLMODE", "PYTHONPATH"]


def test_a_check_makes_no_database(folder: Path, report: Report) -> None:
    assert not (folder / "no-file" / "db.sqlite3").exists()


def test_a_check_writes_to_no_database(folder: Path, report: Report) -> None:
    for name in ("pending", "legacy"):
        with closing(sqlite3.connect(folder / name / "db.sqlite3")) as connection:
            tables = connection.execute("select name from sqlite_master").fetchall()
        assert tables == [("something",)]


def test_a_further_database_without_migrations_is_only_read_by_its_site(
    findings: Callable[[str], list[str]], reports: Mapping[str, SiteReport]
) -> None:
    assert findings("legacy") == []
    project = reports["legacy"].outcome.facts.project
    assert project is not None
    assert [(item.alias, item.pending) for item in project.databases] == [("old", None)]


def test_what_a_site_is_made_of_is_told(reports: Mapping[str, SiteReport]) -> None:
    facts = reports["pending"].outcome.facts
    assert facts.project is not None
    assert facts.project.settings == "core.settings"
    assert facts.django and facts.django.count(".") >= 1
    assert reports["plain"].outcome.facts.django is None
    assert [unit.packages for unit in reports["fine"].units] == []
    assert "psycopg" in {name for unit in reports["postgres"].units for name in unit.packages}


def test_the_check_itself_is_left_as_it_was(report: Report) -> None:
    assert "DJANGO_SETTINGS_MODULE" not in os.environ
