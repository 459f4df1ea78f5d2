"""Small Django projects, each with something about it that a check has to find."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType
from typing import Any

from gateway.checks.findings import Finding
from gateway.checks.report import Report, SiteReport, check
from gateway.config import Config, SiteConfig

SETTINGS = """
import os
SECRET_KEY = "not secret"
ALLOWED_HOSTS = [".example"]
ROOT_URLCONF = "core.urls"
USE_TZ = True
TIME_ZONE = os.environ.get("TZ", "UTC")
"""

WSGI = """
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""

SQLITE = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
INSTALLED_APPS = ["django.contrib.contenttypes"]
"""


def project(folder: Path, name: str, settings: str = "", **fields: Any) -> SiteConfig:
    """A project that would be in order, but for what ``settings`` adds to its settings."""
    path = folder / name
    core = path / "core"
    core.mkdir(parents=True)
    (core / "__init__.py").touch()
    (core / "settings.py").write_text(SETTINGS + dedent(settings))
    (core / "urls.py").write_text("urlpatterns = []\n")
    (core / "wsgi.py").write_text(WSGI)
    env: Mapping[str, str] = fields.pop("env", {})
    return SiteConfig(
        name=name,
        path=path,
        env={"DJANGO_SETTINGS_MODULE": "core.settings", **env},
        **{"hosts": (f"{name}.example",), "wsgi": "core.wsgi:application", **fields},
    )


def configured(*sites: SiteConfig, default_site: str | None = None) -> Config:
    """A ``sites.json`` with these sites."""
    return Config(
        sites=MappingProxyType({site.name: site for site in sites}),
        default_site=default_site,
        source=Path("/nowhere/sites.json"),
        watched=frozenset(),
        text=b"",
    )


def check_all(*sites: SiteConfig, default_site: str | None = None, **options: Any) -> Report:
    """Check them as the command does."""
    config = configured(*sites, default_site=default_site)
    return check(config, config.sites, **options)


def said(report: SiteReport | Report) -> list[str]:
    """The findings as texts: ``level code: what => remedy``."""
    return [text(finding) for finding in report.findings]


def text(finding: Finding) -> str:
    """One finding on a line."""
    return f"{finding.level.value} {finding.code}: {finding.what} => {finding.remedy}"
