"""Projects from PyPI, each in an environment of its own, all in one process.

A long run: ``make test-public``. What it showed last is in ``docs/namespaces.md``.
"""

from __future__ import annotations

import os

import pytest

from .comparison import Comparison
from .projects import PROJECTS

pytestmark = pytest.mark.skipif(
    os.environ.get("GATEWAY_PUBLIC_PROJECTS") != "1", reason="make test-public runs it"
)


@pytest.mark.parametrize("name", [project.name for project in PROJECTS])
def test_every_page_is_answered_as_by_gunicorn(
    comparisons: dict[str, Comparison], name: str
) -> None:
    result = comparisons[name]
    verdicts = result.verdicts

    assert not result.differences(), "\n".join(result.differences())
    assert result.same_status == len(verdicts) > 40
    backstage = [result.gateway[one].status for one in verdicts if one.editor]
    assert backstage.count(200) > 20, "the editor saw little: is she logged in?"
