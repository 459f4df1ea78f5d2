"""Sites for the tests to serve: real ones, and the projects in ``projects/`` beside this file."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .cache import cached, virtual_environment
from .programs import run
from .servers import REPOSITORY

PROJECTS: Final = Path(__file__).with_name("projects")
OTHER_DJANGO: Final = "5.2" if sys.version_info >= (3, 12) else "4.2"
"""The Django of the sites with an environment of their own; the gateway's own has a later one."""

EDITOR: Final = "editor"
EDITOR_PASSWORD: Final = "correct horse battery staple"
"""Who may log in to Wagtail's admin."""

_DJANGO: Final = f"django~={OTHER_DJANGO}.0"
_WAGTAIL: Final = "wagtail~=8.0.0" if sys.version_info >= (3, 12) else "wagtail~=7.0.0"
# Not the psycopg that the gateway's own environment has: two versions in one process.
_REST: Final = (
    _DJANGO,
    "djangorestframework~=3.17",
    "psycopg[binary]~=3.2.0",
    "dj-database-url~=3.0",
)


@dataclass(frozen=True)
class BuiltSite:
    """A project on disk that is ready to be served: its name and its entry in ``sites.json``."""

    name: str
    entry: Mapping[str, Any]

    @property
    def host(self) -> str:
        """The first host it answers to."""
        return str(self.entry["hosts"][0])

    @property
    def folder(self) -> Path:
        """Where the project lies."""
        return Path(self.entry["path"])


def copy_project(source: Path, target: Path) -> Path:
    """A copy of a project, without what running it has left behind; returns ``target``."""
    leftovers = shutil.ignore_patterns("__pycache__", "db.sqlite3*", "media", ".venv", ".*_cache")
    return Path(shutil.copytree(source, target, ignore=leftovers))


def tiny_site(folder: Path, name: str, **env: str) -> BuiltSite:
    """A project of one page, at ``folder/name``, for tests that break it."""
    path = copy_project(PROJECTS / "tiny", folder / name)
    return BuiltSite(name, _entry(name, path, {"SITE": name, **env}))


def echo_site(folder: Path, name: str) -> BuiltSite:
    """A project that says what it was asked, at ``folder/name``."""
    path = copy_project(PROJECTS / "echo", folder / name)
    return BuiltSite(name, _entry(name, path, {"SITE": name}))


def plain_site(folder: Path, name: str) -> BuiltSite:
    """A project without Django, which answers as it is told, at ``folder/name``."""
    path = copy_project(PROJECTS / "plain", folder / name)
    return BuiltSite(name, _entry(name, path, {"SITE": name}))


def twin_site(folder: Path, marker: str, late: int) -> BuiltSite:
    """One of two projects that differ in nothing but the ``marker`` that stands in each module.

    ``late`` is how many modules it has that are imported only by requests, of each of two kinds.
    """
    path = copy_project(PROJECTS / "twin", folder / marker)
    part = path / "shop/late/part.py"
    for number in range(late):
        for kind in ("part", "thread"):
            shutil.copy(part, part.with_name(f"{kind}{number:02}.py"))
    for file in (file for file in path.rglob("*") if file.suffix in {".py", ".txt"}):
        file.write_text(file.read_text().replace("@MARKER@", marker))
    env = {
        "SITE": marker,
        "SECRET_KEY": f"key of {marker}",
        "HOME": f"/home/{marker}",
        "TMPDIR": f"/nowhere/{marker}",
        "http_proxy": f"http://proxy.invalid/{marker}",
    }
    run([sys.executable, "manage.py", "migrate", "-v0"], folder=path, environ=env)
    return BuiltSite(marker, _entry(marker, path, env))


def sample_site(folder: Path, name: str, **env: str) -> BuiltSite:
    """One of the repository's samples with a database of its own, as ``sites.json`` has it."""
    shipped = json.loads((REPOSITORY / "sites.json").read_text())["sites"][name]
    path = copy_project(REPOSITORY / shipped["path"], folder / name)
    environ = {"SECRET_KEY": f"a key for the tests of {name} only", **env}
    run([sys.executable, "manage.py", "migrate", "-v0"], folder=path, environ=environ)
    entry = {**shipped, "path": str(path), "env": {**shipped["env"], **environ}}
    return BuiltSite(name, entry)


def library_site(folder: Path, database_url: str) -> BuiltSite:
    """A REST API on PostgreSQL, made with Django REST framework."""
    venv = virtual_environment(_REST)
    path = copy_project(PROJECTS / "library", folder / "library")
    entry = _entry("library", path, {"DATABASE_URL": database_url}, venv)
    run([venv / "bin/python", "manage.py", "migrate", "-v0"], folder=path, environ=entry["env"])
    return BuiltSite("library", entry)


def wagtail_site(folder: Path) -> BuiltSite:
    """What ``wagtail start`` makes, with somebody who may edit it."""
    venv = virtual_environment([_DJANGO, _WAGTAIL])
    recipe = [_DJANGO, _WAGTAIL, inspect.getsource(_start_wagtail)]
    template = cached("wagtail", recipe, lambda draft: _start_wagtail(venv, draft))
    path = Path(shutil.copytree(template, folder / "portal"))
    return BuiltSite("portal", _entry("portal", path, {}, venv, "portal"))


def _start_wagtail(venv: Path, project: Path) -> None:
    python = venv / "bin/python"
    start = "from wagtail.bin.wagtail import main; main()"
    run([python, "-c", start, "start", "portal", "."], folder=project)
    urls = project / "portal/urls.py"
    facts = "\n\nfrom portal.facts import facts\n\nurlpatterns.insert(0, path('facts/', facts))\n"
    urls.write_text(urls.read_text() + facts)
    shutil.copy(PROJECTS / "library/core/facts.py", project / "portal/facts.py")
    run([python, "manage.py", "migrate", "-v0"], folder=project)
    superuser = ["createsuperuser", "--noinput", "--username", EDITOR, "--email", "e@example.com"]
    password = {"DJANGO_SUPERUSER_PASSWORD": EDITOR_PASSWORD}
    run([python, "manage.py", *superuser], folder=project, environ=password)


def _entry(
    name: str,
    path: Path,
    env: Mapping[str, str],
    venv: Path | None = None,
    package: str = "core",
) -> dict[str, Any]:
    settings = f"{package}.settings.dev" if package == "portal" else f"{package}.settings"
    return {
        "hosts": [f"{name}.localhost"],
        "path": str(path),
        "wsgi": f"{package}.wsgi",
        "env": {"DJANGO_SETTINGS_MODULE": settings, **env},
        **({} if venv is None else {"venv": str(venv)}),
    }
