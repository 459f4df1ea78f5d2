"""The public projects: what each needs, how it is made, and where a visit to it begins."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.integration.cache import cached, virtual_environment
from tests.integration.programs import run
from tests.integration.sites import EDITOR, EDITOR_PASSWORD, BuiltSite

_SOURCES: Final = Path(__file__).with_name("projects")
_ENVIRON: Final = {"DJANGO_SETTINGS_MODULE": "core.local", "PYTHONPATH": "."}
_NEWEST: Final = "django~=6.1.0" if sys.version_info >= (3, 12) else "django~=5.2.0"
_CURRENT: Final = "django~=5.2.0"
_OLD: Final = "django~=4.2.0"
_VERSIONS: Final = """
import json, sys
from importlib.metadata import version
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""


@dataclass(frozen=True)
class PublicProject:
    """One project from PyPI, set up as its documentation says by what lies in ``projects/name``.

    ``starts`` are the pages that its documentation names, beside the front page; ``login`` is the
    form that lets the editor in, and ``backstage`` is where she begins.
    """

    name: str
    kind: str
    distribution: str
    requirements: tuple[str, ...]
    login: str = "/admin/login/"
    starts: tuple[str, ...] = ()
    backstage: tuple[str, ...] = ("/admin/",)

    @property
    def host(self) -> str:
        """The host it is visited by, under either server."""
        return f"{self.name}.localhost"


@dataclass(frozen=True)
class BuiltProject:
    """A project that can be served, and the versions of what it was made with."""

    project: PublicProject
    site: BuiltSite
    versions: Mapping[str, str]

    @property
    def venv(self) -> Path:
        """Its own virtual environment."""
        return Path(self.site.entry["venv"])


PROJECTS: Final = (
    PublicProject(
        "portal",
        "content management, as `wagtail start` makes it",
        "wagtail",
        (_NEWEST, "wagtail~=8.0.0"),
        starts=("/search/?query=reisen", "/api/pages/", "/api/images/", "/old", "/missing"),
        backstage=("/admin/", "/django-admin/"),
    ),
    PublicProject(
        "shop",
        "shop with dashboard",
        "django-oscar",
        (_NEWEST, "django-oscar~=4.2.0", "sorl-thumbnail"),
        starts=("/search/?q=chair", "/accounts/login/", "/basket/", "/missing/"),
        backstage=("/dashboard/", "/accounts/profile/", "/admin/"),
    ),
    PublicProject(
        "cms",
        "content management in two languages",
        "django-cms",
        (
            _CURRENT,
            "django-cms~=5.1.0",
            "django-filer~=3.6.0",
            "djangocms-text~=1.0.0",
            "djangocms-versioning~=2.8.0",
        ),
        login="/en/admin/login/",
        starts=("/en/", "/de/", "/en/missing/"),
        backstage=("/en/admin/", "/de/admin/", "/en/admin/cms/pagecontent/", "/en/?toolbar_on"),
    ),
    PublicProject(
        "wiki",
        "wiki",
        "wiki",
        (_CURRENT, "wiki~=0.13.0"),
        login="/_accounts/login/",
        starts=("/alpha/", "/_search/?q=alpha", "/missing/"),
        backstage=("/alpha/_edit/", "/_create/", "/alpha/_plugin/images/", "/admin/"),
    ),
    PublicProject(
        "forum",
        "forum",
        "django-machina",
        (_OLD, "django-machina~=1.3.0"),
        starts=("/search/?q=Holz", "/feeds/topics/", "/missing/"),
        backstage=("/", "/moderation/queue/", "/member/profile/edit/", "/admin/"),
    ),
    PublicProject(
        "helpdesk",
        "ticket system with a REST API",
        "django-helpdesk",
        (_CURRENT, "django-helpdesk~=2.6.0"),
        login="/login/",
        starts=("/tickets/submit/", "/kb/", "/missing/"),
        backstage=("/dashboard/", "/tickets/", "/reports/", "/api/tickets/", "/admin/"),
    ),
)


def build(project: PublicProject, folder: Path) -> BuiltProject:
    """A copy at ``folder/name`` of what is made once and kept, with a database of its own."""
    venv = virtual_environment([*project.requirements, "gunicorn"])
    recipe = [*project.requirements, *_texts("common"), *_texts(project.name)]
    template = cached(f"public-{project.name}", recipe, lambda draft: _make(project, venv, draft))
    path = Path(shutil.copytree(template, folder / project.name))
    entry = {
        "hosts": [project.host],
        "path": str(path),
        "wsgi": "core.wsgi",
        "venv": str(venv),
        "env": {"DJANGO_SETTINGS_MODULE": _ENVIRON["DJANGO_SETTINGS_MODULE"]},
    }
    names = [project.distribution, "django"]
    versions = json.loads(run([venv / "bin/python", "-c", _VERSIONS, *names], folder=path))
    return BuiltProject(project, BuiltSite(project.name, entry), versions)


def _make(project: PublicProject, venv: Path, draft: Path) -> None:
    """Start the project as its documentation says, set it up, and fill its database."""
    python = venv / "bin/python"
    if project.distribution == "wagtail":
        start = "from wagtail.bin.wagtail import main; main()"
        run([python, "-c", start, "start", "core", "."], folder=draft)
    else:
        run([python, "-m", "django", "startproject", "core", "."], folder=draft)
    for source in ("common", project.name):
        shutil.copytree(_SOURCES / source, draft, dirs_exist_ok=True)
    superuser = ["createsuperuser", "--noinput", "--username", EDITOR, "--email", "e@example.com"]
    environ = {**_ENVIRON, "DJANGO_SUPERUSER_PASSWORD": EDITOR_PASSWORD}
    for command in (["manage.py", "migrate", "-v0"], ["manage.py", *superuser], ["content.py"]):
        run([python, *command], folder=draft, environ=environ)


def _texts(source: str) -> list[str]:
    files = sorted(file for file in (_SOURCES / source).rglob("*.*") if file.suffix != ".pyc")
    return [text for file in files for text in (file.name, file.read_text())]
