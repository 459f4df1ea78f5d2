"""The suites: Django's source distributions, each with a virtual environment of its own."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.integration.cache import cached, virtual_environment
from tests.integration.programs import run

VERSIONS: Final = {"5.2": "5.2.19", "6.1": "6.1.3", "4.2": "4.2.30"}
"""The release that stands for each series. Fixed, so that two runs compare."""

LABELS: Final = (
    "handlers",
    "wsgi",
    "requests_tests",
    "middleware",
    "urlpatterns_reverse",
    "signals",
    "apps",
    "dispatch",
    "logging_tests",
    "csrf_tests",
    "servers",
    "view_tests",
    "template_tests",
    "staticfiles_tests",
    "sessions_tests",
    "i18n",
    "test_client",
    "auth_tests",
    "cache",
    "model_forms",
    "admin_views",
    "serializers",
    "migrations",
    "async",
    "utils_tests",
    "settings_tests",
)
"""What a request passes through, and whatever asks for modules, environments or processes."""

SUBSET: Final = (
    "app_loading",
    "apps",
    "asgi",
    "async",
    "csrf_tests",
    "context_processors",
    "deprecation",
    "dispatch",
    "file_storage",
    "files",
    "handlers",
    "logging_tests",
    "mail",
    "messages_tests",
    "middleware",
    "queryset_pickle",
    "requests_tests",
    "serializers",
    "servers",
    "sessions_tests",
    "settings_tests",
    "signals",
    "template_backends",
    "template_loader",
    "test_client",
    "urlpatterns_reverse",
    "utils_tests.test_autoreload",
    "utils_tests.test_dateformat",
    "utils_tests.test_module_loading",
    "wsgi",
)
"""What a test run of the gateway has time for."""

BESIDE: Final = (
    "apps",
    "dispatch",
    "handlers",
    "logging_tests",
    "requests_tests",
    "settings_tests",
    "signals",
    "wsgi",
)
"""The same for two suites at once."""

_NOT_BUILT: Final = ("pylibmc", "pywatchman")
"""Requirements of the suite that need headers or a compiler."""

_NO_LABELS: Final = {"gis_tests", "import_error_package", "test_runner_apps"}
"""What ``runtests.py`` leaves out, or needs a geographic database for."""


class UnavailableError(Exception):
    """A release or what it requires cannot be downloaded."""


@dataclass(frozen=True)
class Suite:
    """A release of Django: ``tests`` is the folder of ``runtests.py``."""

    series: str
    tests: Path
    venv: Path

    @property
    def version(self) -> str:
        return VERSIONS[self.series]


def supported() -> list[str]:
    """The series that this interpreter can run."""
    python = sys.version_info[:2]
    limits = {"5.2": python >= (3, 11), "6.1": python >= (3, 12), "4.2": python <= (3, 12)}
    return [series for series in VERSIONS if limits[series]]


@dataclass(frozen=True)
class Part:
    """Labels of a suite that are run in one process."""

    suite: Suite
    labels: tuple[str, ...]


def all_labels(suite: Suite) -> list[str]:
    """The labels of the whole suite."""
    folders = {path.parent.name for path in suite.tests.glob("*/__init__.py")}
    return sorted(folders - _NO_LABELS)


def parts(suite: Suite, labels: Sequence[str], count: int) -> list[Part]:
    """The labels in ``count`` parts.

    ``runtests.py`` empties the tables of all that it runs after many a test, so parts take a
    fraction of the time; and one that ends before its time does not take the others with it.
    """
    return [Part(suite, tuple(labels[start::count])) for start in range(count)]


@cache
def suite(series: str) -> Suite:
    """The suite of a series, downloaded if it must be; raises ``UnavailableError``."""
    version = VERSIONS[series]
    try:
        source = cached("django", [version], lambda draft: _unpack(version, draft))
        listed = (source / "tests" / "requirements" / "py3.txt").read_text().splitlines()
        wanted = [line for line in listed if line and not line.startswith(("#", *_NOT_BUILT))]
        venv = virtual_environment([f"django=={version}", *wanted])
    except AssertionError as exc:  # what ``run`` raises
        message = f"Django {version} or what its tests require cannot be downloaded"
        raise UnavailableError(f"{message}\n{exc}") from exc
    return Suite(series, source / "tests", venv)


def _unpack(version: str, draft: Path) -> None:
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
    ]
    options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(draft)]
    run([*pip, "download", *options, f"django=={version}"], folder=draft)
    (archive,) = draft.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(draft, filter="data")
    archive.unlink()
    (folder,) = draft.iterdir()
    for entry in folder.iterdir():
        entry.rename(draft / entry.name)
    folder.rmdir()
