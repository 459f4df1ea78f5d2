"""Modules of the environment layer, as a site sees them; psycopg is there with the test extra."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.namespace import Namespace

pytestmark = pytest.mark.usefixtures("hooks")


def run(source: str) -> dict[str, Any]:
    namespace = Namespace("site", environ={"PATH": "/usr/bin:/bin"})
    variables: dict[str, Any] = vars(namespace.modules["__main__"])
    exec(source, variables)
    namespace.close()
    return variables


def test_what_a_package_has_imported_for_itself_is_in_sys_modules() -> None:
    seen = run(
        "import sys, psycopg\n"
        "before = 'psycopg.errors' in sys.modules\n"
        "from psycopg import errors\n"
        "same = sys.modules['psycopg.errors'] is errors\n"
    )
    assert (seen["before"], seen["same"]) == (True, True)


def test_two_sites_share_a_native_package_and_not_a_pure_one() -> None:
    source = "import django, psycopg, sqlparse"
    one, other = run(source), run(source)
    assert one["psycopg"] is other["psycopg"]
    assert one["django"] is not other["django"]
    assert one["sqlparse"] is not other["sqlparse"]
