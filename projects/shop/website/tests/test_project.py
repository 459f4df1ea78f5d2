"""What holds for the project as a whole: its settings, its static files, its error page."""

import os
import subprocess
import sys

from django.conf import settings
from django.test import RequestFactory, SimpleTestCase
from django.views.defaults import server_error


def read(setting: str, **environment: str) -> subprocess.CompletedProcess:
    """Print a setting as a server with this environment sees it."""
    code = f"from django.conf import settings; print(settings.{setting})"
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=settings.BASE_DIR,
        env=kept | {"DJANGO_SETTINGS_MODULE": "core.settings"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


class EnvironmentTests(SimpleTestCase):
    """Settings are read once, so each case is a Python of its own."""

    def test_a_server_without_a_secret_key_does_not_start(self):
        outcome = read("SECRET_KEY")
        self.assertNotEqual(outcome.returncode, 0)
        self.assertIn("Set SECRET_KEY in the environment", outcome.stderr)

    def test_debug_is_off_unless_asked_for(self):
        self.assertEqual(read("DEBUG", SECRET_KEY="x").stdout.strip(), "False")
        self.assertEqual(read("DEBUG", DEBUG="1").stdout.strip(), "True")

    def test_hosts_are_separated_by_commas(self):
        hosts = read("ALLOWED_HOSTS", SECRET_KEY="x", ALLOWED_HOSTS="a.example, .b.example,")
        self.assertEqual(hosts.stdout.strip(), "['a.example', '.b.example']")

    def test_sqlite_unless_another_database_is_named(self):
        engine = "DATABASES['default']['ENGINE']"
        for url in ({}, {"DATABASE_URL": ""}):
            outcome = read(engine, SECRET_KEY="x", **url)
            self.assertEqual(outcome.stdout.strip(), "django.db.backends.sqlite3")


class StaticFilesTests(SimpleTestCase):
    def test_the_style_sheet_is_served_without_debug(self):
        self.assertFalse(settings.DEBUG)
        response = self.client.get("/static/website/site.css")
        self.assertEqual(response.headers["Content-Type"], "text/css")
        self.assertIn(b":focus-visible", b"".join(response.streaming_content))


class ErrorPageTests(SimpleTestCase):
    def test_it_needs_no_database(self):
        """A SimpleTestCase may not ask one, and where things went wrong there may be none."""
        response = server_error(RequestFactory().get("/"))
        self.assertContains(response, "Something went wrong", status_code=500)
