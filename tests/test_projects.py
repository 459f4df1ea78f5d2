"""The sample projects: each passes its own tests, and they are the pair that a gateway is for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SITES = json.loads((ROOT / "sites.json").read_text(encoding="utf-8"))["sites"]


def manage(site: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a sample's own ``manage.py`` as a reader would, with warnings as errors."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-W", "error", "-B", "manage.py", *arguments],
        cwd=ROOT / SITES[site]["path"],
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def modules(site: str) -> set[str]:
    """The dotted names a sample would be imported under, its tests and migrations aside."""
    folder = ROOT / SITES[site]["path"]
    return {
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in folder.rglob("*.py")
        if not {"tests", "migrations", ".venv"} & set(path.relative_to(folder).parts)
    }


@pytest.mark.parametrize("site", SITES)
def test_a_sample_passes_its_own_tests(site: str) -> None:
    outcome = manage(site, "test")
    assert outcome.returncode == 0, outcome.stdout
    assert "Found 0 test" not in outcome.stdout


@pytest.mark.parametrize("site", SITES)
def test_the_migrations_of_a_sample_match_its_models(site: str, tmp_path: Path) -> None:
    # A database of its own: the question makes Django open one, and the reader's is not ours.
    database = f"sqlite:///{tmp_path / 'db.sqlite3'}"
    outcome = manage(site, "makemigrations", "--check", "--dry-run", DATABASE_URL=database)
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize("site", SITES)
def test_a_sample_is_fit_to_deploy_over_plain_http(site: str) -> None:
    key = "a key that is long, and has many characters, and is not Django's"
    outcome = manage(site, "check", "--deploy", SECRET_KEY=key)
    assert outcome.returncode == 0, outcome.stdout
    warned = {word for word in outcome.stdout.split() if word.startswith("(security.")}
    # HSTS, redirection to https, and the two cookies that travel by https alone.
    assert warned == {f"(security.{number})" for number in ("W004", "W008", "W012", "W016")}


def test_the_samples_have_the_same_module_names() -> None:
    names = [modules(site) for site in SITES]
    assert len(names) == 2
    assert names[0] == names[1]
    assert {"core.settings", "core.urls", "core.wsgi", "website.models"} <= names[0]
