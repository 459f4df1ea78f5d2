"""sentry-sdk, which patches shared classes, in one of two sites: real, from its own environment."""

from __future__ import annotations

import http.client
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gateway.namespace import Namespace
from tests.integration.cache import virtual_environment

PATCHED = (
    (threading.Thread, "start"),
    (ThreadPoolExecutor, "submit"),
    (http.client.HTTPConnection, "putrequest"),
    (subprocess.Popen, "__init__"),
)

SITE = """
import django
from django.conf import settings
settings.configure(
    ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None, MIDDLEWARE=[]
)
django.setup()
from django.core.wsgi import get_wsgi_application
from django.urls import path

def fail(request):
    import subprocess
    subprocess.run(["true"], check=True)
    raise LookupError(f"in {NAME}")

urlpatterns = [path("", fail)]
application = get_wsgi_application()

def ask():
    import io
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "x", "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http", "HTTP_HOST": "x",
    }
    statuses = []
    list(application(environ, lambda status, headers, exc_info=None: statuses.append(status)))
    return statuses[0]
"""

SENTRY = """
import sentry_sdk
events = []
sentry_sdk.init(
    dsn="http://key@127.0.0.1:9/1",
    before_send=lambda event, hint: events.append(event),  # keeps it here: None is not sent
    default_integrations=True,
)
"""


@pytest.fixture(scope="module")
def venv() -> Path:
    return virtual_environment(["django~=5.2.0", "sentry-sdk~=2.20"])


def load(name: str, venv: Path, source: str) -> tuple[Namespace, dict[str, Any]]:
    namespace = Namespace(name, venv=venv, environ={"PATH": "/usr/bin:/bin"})
    variables: dict[str, Any] = vars(namespace.modules["__main__"])
    variables["NAME"] = name
    exec(dedent(source), variables)
    namespace.confine_patches()
    return namespace, variables


@pytest.mark.timeout(300)
def test_it_reports_its_own_site_only_and_leaves_no_patch_behind(hooks: None, venv: Path) -> None:
    before = [getattr(cls, name) for cls, name in PATCHED]
    watched, of_watched = load("watched", venv, SENTRY + SITE)
    other, of_other = load("other", venv, SITE)

    assert of_other["ask"]().startswith("500")
    subprocess.run(["true"], check=True)
    assert of_watched["events"] == []

    assert of_watched["ask"]().startswith("500")
    (event,) = of_watched["events"]
    assert event["exception"]["values"][-1]["value"] == "in watched"
    assert any(crumb["category"] == "subprocess" for crumb in event["breadcrumbs"]["values"])

    of_watched["sentry_sdk"].get_client().close(timeout=0)
    assert watched.close() == [] == other.close()
    assert [getattr(cls, name) for cls, name in PATCHED] == before
