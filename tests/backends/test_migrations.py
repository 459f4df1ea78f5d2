"""Code whose migrations have not been applied: warned of, or not served."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from gateway.backends.inprocess import InProcessBackend
from gateway.config import SiteConfig
from gateway.errors import LoadError

pytestmark = pytest.mark.anyio

SETTINGS = """
    SECRET_KEY = "x"
    INSTALLED_APPS = ["shop"]
    DATABASES = {
        name: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{name}.sqlite3"}
        for name in ("default", "archive")
    }
    DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
    """
ROUTER = """
    DATABASE_ROUTERS = ["shop.routers.Router"]
    """
MIGRATION = """
    from django.db import migrations, models
    class Migration(migrations.Migration):
        dependencies = [{before}]
        operations = [migrations.RunSQL("SELECT 1", "SELECT 1")]
    """
FILES = {
    "settings.py": SETTINGS,
    "wsgi.py": """
        from django.core.wsgi import get_wsgi_application
        application = get_wsgi_application()
        """,
    "shop/__init__.py": "",
    "shop/models.py": """
        from django.db import models
        class Thing(models.Model):
            class Meta:
                managed = False
        """,
    "shop/migrations/__init__.py": "",
    "shop/migrations/0001_first.py": MIGRATION.format(before=""),
    "shop/routers.py": """
        class Router:
            def allow_migrate(self, db, app_label, **hints):
                return db == "archive"
        """,
}
ENVIRON = {"DJANGO_SETTINGS_MODULE": "settings"}


@pytest.fixture
def site(tmp_path: Path) -> SiteConfig:
    """Its migrations belong to the database ``default``, and nothing has been migrated."""
    for name, text in FILES.items():
        write(tmp_path / name, text)
    return SiteConfig(
        "shop",
        ("shop.example",),
        tmp_path,
        "wsgi:application",
        ENVIRON,
        migrations="require",
    )


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(dedent(text))


def migrate(site: SiteConfig, database: str = "default") -> None:
    command = [sys.executable, "-m", "django", "migrate", "-v0", "--database", database]
    environ = {**os.environ, **ENVIRON, "PYTHONPATH": str(site.path)}
    subprocess.run(command, cwd=site.path, env=environ, check=True)


async def reason(backend: InProcessBackend, site: SiteConfig) -> str | None:
    """Why the site does not load; ``None`` if it does."""
    try:
        generation = await backend.load(site, 1)
    except LoadError as error:
        return error.reason
    await generation.close()
    return None


async def test_what_is_missing_is_named(backend: InProcessBackend, site: SiteConfig) -> None:
    file = site.path / "default.sqlite3"
    missing = await reason(backend, site)
    assert missing is not None
    assert "the database 'default' does not exist yet" in missing
    assert not file.exists()
    migrate(site)
    assert await reason(backend, site) is None
    before = '("shop", "0001_first")'
    write(site.path / "shop/migrations/0002_second.py", MIGRATION.format(before=before))
    assert await reason(backend, site) == (
        "the database 'default' lacks migrations: shop.0002_second; run manage.py migrate, or set "
        "migrations to warn"
    )
    file.write_bytes(b"no database " * 100)
    damaged = await reason(backend, site)
    assert damaged is not None
    assert "the database 'default' cannot be asked for its migrations: DatabaseError" in damaged


async def test_a_warning(
    backend: InProcessBackend, site: SiteConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert await reason(backend, replace(site, migrations="ignore")) is None
        assert "migrate" not in caplog.text
        assert await reason(backend, replace(site, migrations="warn")) is None
    assert "shop: the database 'default' does not exist yet" in caplog.text


async def test_only_the_databases_that_the_migrations_belong_to(
    backend: InProcessBackend, site: SiteConfig
) -> None:
    write(site.path / "settings.py", SETTINGS + ROUTER)
    found = await reason(backend, site)
    assert found is not None
    assert "'archive'" in found
    assert "'default'" not in found
    migrate(site, "archive")
    assert await reason(backend, site) is None


async def test_a_site_without_a_database(backend: InProcessBackend, site: SiteConfig) -> None:
    write(site.path / "settings.py", SETTINGS + "DATABASES = {}\n")
    assert await reason(backend, site) is None
