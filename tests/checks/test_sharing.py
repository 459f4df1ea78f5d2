"""Variables that C code reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.checks.facts import Facts
from gateway.checks.sharing import findings
from gateway.config import SiteConfig


def named(env: dict[str, str], environ: dict[str, str]) -> list[str]:
    site = SiteConfig("shop", ("shop.example",), Path("/srv/shop"), "core.wsgi:application", env)
    found = findings(site, Facts(stage="done", python="3.13.0"), environ)
    assert site.env is env
    return [finding.what.partition(":")[0] for finding in found]


@pytest.mark.parametrize(
    "name",
    ["PGHOST", "SSL_CERT_FILE", "LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "OPENSSL_CONF", "LC_ALL"],
)
def test_what_c_code_reads_is_named(name: str) -> None:
    assert named({name: "x"}, {}) == [name]


@pytest.mark.parametrize("name", ["SECRET_KEY", "PG_HOST", "POSTGRES_USER", "PYTHONUNBUFFERED"])
def test_what_python_code_reads_is_not(name: str) -> None:
    assert named({name: "x"}, {}) == []


def test_what_the_gateway_has_as_well_is_not() -> None:
    assert named({"SSL_CERT_FILE": "x", "PGHOST": "y"}, {"SSL_CERT_FILE": "x", "PGHOST": "z"}) == [
        "PGHOST"
    ]


def test_of_several_for_one_reader_one_finding_is_made() -> None:
    assert named({"PGHOST": "x", "PGPORT": "5432"}, {}) == ["PGHOST, PGPORT"]
