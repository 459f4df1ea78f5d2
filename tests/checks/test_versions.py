"""Packages with C code, in several versions beside each other."""

from __future__ import annotations

from gateway.checks.facts import Unit
from gateway.checks.findings import Finding
from gateway.checks.versions import findings


def unit(name: str, version: str, *, loaded: bool = True, key: str = "") -> Unit:
    return Unit(f"{name} {version}", key or f"{name}-{version}", {name: version}, loaded)


def found(**units: Unit) -> list[Finding]:
    return list(findings({site: (usable,) for site, usable in units.items()}))


def test_the_same_content_is_no_conflict() -> None:
    assert found(a=unit("numpy", "2.1"), b=unit("numpy", "2.1")) == []


def test_two_of_what_can_be_loaded_only_once_are_a_fault() -> None:
    (finding,) = found(a=unit("numpy", "2.1"), b=unit("numpy", "1.26"), c=unit("numpy", "2.1"))
    assert finding.level.value == "fault"
    assert "numpy" in finding.what
    assert "1.26 in b; 2.1 in a, c" in finding.what
    assert "same version" in finding.remedy


def test_they_are_a_warning_while_one_is_only_installed() -> None:
    (finding,) = found(a=unit("numpy", "2.1"), b=unit("numpy", "1.26", loaded=False))
    assert finding.level.value == "warning"


def test_two_builds_of_one_version_are_two_copies() -> None:
    (finding,) = found(a=unit("numpy", "2.1", key="x"), b=unit("numpy", "2.1", key="y"))
    assert finding.level.value == "fault"


def test_others_are_noted_if_both_are_loaded() -> None:
    (finding,) = found(a=unit("pillow", "11"), b=unit("pillow", "12"))
    assert finding.level.value == "note"
    assert found(a=unit("pillow", "11"), b=unit("pillow", "12", loaded=False)) == []
