"""Finding the WSGI application of a project from its source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from gateway.config.discovery import DiscoveryError, find_wsgi

MANAGE = """
import os, sys
def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings")
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""
WSGI = 'WSGI_APPLICATION = "core.wsgi.application"\n'


def write(project: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return project


def test_a_project_as_startproject_makes_it(tmp_path: Path) -> None:
    write(tmp_path, {"manage.py": MANAGE, "core/settings.py": WSGI, "core/wsgi.py": ""})
    assert find_wsgi(tmp_path) == "core.wsgi:application"


@pytest.mark.parametrize(
    "manage",
    [
        'import os\nos.environ["DJANGO_SETTINGS_MODULE"] = "core.settings"',
        'from os import environ\nenviron.setdefault("DJANGO_SETTINGS_MODULE", "core.settings")',
        # What is said twice is not ambiguous.
        MANAGE + 'os.environ["DJANGO_SETTINGS_MODULE"] = "core.settings"',
        # Neither other variables nor other dictionaries count.
        MANAGE + 'os.environ["X"] = y\nother.setdefault("DJANGO_SETTINGS_MODULE", "z")',
    ],
)
def test_the_settings_module_is_read_from_manage_py(tmp_path: Path, manage: str) -> None:
    write(tmp_path, {"manage.py": manage, "core/settings.py": WSGI})
    assert find_wsgi(tmp_path) == "core.wsgi:application"


def test_the_sites_own_settings_module_wins(tmp_path: Path) -> None:
    files = {
        "manage.py": MANAGE,
        "core/settings.py": WSGI,
        "prod/settings.py": 'WSGI_APPLICATION = "prod.server.app"',
    }
    assert find_wsgi(write(tmp_path, files), "prod.settings") == "prod.server:app"


def test_nothing_is_run(tmp_path: Path) -> None:
    trap = "open('ran', 'w')\nraise SystemExit\n"
    files = {"manage.py": trap + MANAGE, "core/__init__.py": trap, "core/settings.py": trap + WSGI}
    assert find_wsgi(write(tmp_path, files)) == "core.wsgi:application"
    assert not (tmp_path / "ran").exists()
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "files",
    [
        {"core/settings/prod.py": "from .base import *", "core/settings/base.py": WSGI},
        {
            "core/settings/prod.py": "from core.settings.base import *",
            "core/settings/base.py": WSGI,
        },
        {"core/settings/prod.py": "from ..common import *", "core/common.py": WSGI},
        {"core/settings/prod.py": "from . import *", "core/settings/__init__.py": WSGI},
        {"core/settings/prod.py": "from ..common import WSGI_APPLICATION", "core/common.py": WSGI},
        {
            "core/settings/prod.py": "from .middle import *",
            "core/settings/middle.py": "from .base import *",
            "core/settings/base.py": WSGI,
        },
        {
            "core/settings/prod.py": "try:\n    from .base import *\nexcept ImportError:\n    pass",
            "core/settings/base.py": WSGI,
        },
        # The last one counts.
        {"core/settings/prod.py": f"from .base import *\n{WSGI}", "core/settings/base.py": "W = 1"},
        {
            "core/settings/prod.py": f"from .base import *\n{WSGI}",
            "core/settings/base.py": 'WSGI_APPLICATION = "base.wsgi.application"',
        },
        {"core/settings/prod.py": f"WSGI_APPLICATION = None\n{WSGI}"},
        {"core/settings/prod.py": f"WSGI_APPLICATION = None\nwith x:\n    {WSGI}"},
        {"core/settings/prod.py": 'WSGI_APPLICATION: str = "core.wsgi.application"'},
        # Modules that import each other end.
        {
            "core/settings/prod.py": f"from .base import *\n{WSGI}",
            "core/settings/base.py": "from .prod import *",
        },
        # What is not in the project is not looked at.
        {"core/settings/prod.py": f"from company.settings import *\n{WSGI}"},
        {"core/settings/prod.py": f"from ......other import *\n{WSGI}"},
    ],
)
def test_settings_are_followed_into_what_they_take_over(
    tmp_path: Path, files: dict[str, str]
) -> None:
    assert find_wsgi(write(tmp_path, files), "core.settings.prod") == "core.wsgi:application"


def test_a_settings_package(tmp_path: Path) -> None:
    files = {"core/settings/__init__.py": "from .dev import *", "core/settings/dev.py": WSGI}
    assert find_wsgi(write(tmp_path, files), "core.settings") == "core.wsgi:application"


@pytest.mark.parametrize(
    ("settings", "file", "wsgi"),
    [
        ("core.settings", "core/wsgi.py", "core.wsgi:application"),
        ("config.settings.prod", "config/wsgi.py", "config.wsgi:application"),
        ("config.settings.prod", "config/settings/wsgi.py", "config.settings.wsgi:application"),
        ("config.settings", "wsgi.py", "wsgi:application"),
        ("settings", "wsgi.py", "wsgi:application"),
    ],
)
def test_without_the_setting_the_nearest_wsgi_py_counts(
    tmp_path: Path, settings: str, file: str, wsgi: str
) -> None:
    source = settings.replace(".", "/") + ".py"
    assert find_wsgi(write(tmp_path, {source: "DEBUG = True", file: ""}), settings) == wsgi


@pytest.mark.parametrize(
    ("files", "settings", "complaint"),
    [
        ({}, None, "there is no"),
        ({"manage.py": "print()"}, None, "names none"),
        ({"manage.py": MANAGE}, None, '"core.settings" is not in'),
        ({}, "../etc.settings", "is not in"),
        ({"manage.py": "def main(:"}, None, "line 1 is not Python"),
        ({"manage.py": MANAGE.replace('"core.', 'f"{x}.')}, None, "line 4, computes"),
        ({"manage.py": MANAGE + MANAGE.replace("core.", "test.")}, None, "more than one"),
        ({"s.py": "DEBUG = 1"}, "s", "no wsgi.py"),
        ({"s.py": "DEBUG = \n"}, "s", "s.py, line 1 is not Python"),
        ({"s.py": "\0"}, "s", "s.py"),
        ({"s.py": f"x = {'-' * 100_000}1"}, "s", "s.py"),
        ({"s.py": "WSGI_APPLICATION = NAME + '.wsgi'"}, "s", "s.py, line 1, computes"),
        ({"s.py": "WSGI_APPLICATION = 'application'"}, "s", 'not "module.attribute"'),
        ({"s.py": "WSGI_APPLICATION = 'core/wsgi.app'"}, "s", 'not "module.attribute"'),
        ({"s.py": f"{WSGI}if X:\n    WSGI_APPLICATION = 'a.b'"}, "s", "depends on a condition"),
        ({"s.py": f"if X:\n    {WSGI}else:\n    WSGI_APPLICATION = 'a.b'"}, "s", "depends on"),
    ],
)
def test_what_is_not_plain_is_an_error_with_the_remedy(
    tmp_path: Path, files: dict[str, str], settings: str | None, complaint: str
) -> None:
    with pytest.raises(DiscoveryError) as caught:
        find_wsgi(write(tmp_path, files), settings)
    assert complaint in str(caught.value)
    assert '"wsgi"' in str(caught.value) or '"DJANGO_SETTINGS_MODULE"' in str(caught.value)
