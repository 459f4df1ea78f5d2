"""Packages with C code, in several versions beside each other."""

from __future__ import annotations

from gateway.checks.facts import Unit
from gateway.checks.findings import Finding
from gateway.checks.versions import findings


def unit(name: str, version: str, *, loaded: bool = True, file: str = "", **requires: str) -> Unit:
    packages = {name: version}
    key = f"{packages} {requires}"
    files = (file or key,)
    return Unit(f"{name} {version}", key, packages, packages | requires, files, loaded)


def found(**units: Unit) -> list[Finding]:
    return list(findings({site: (usable,) for site, usable in units.items()}))


def test_the_same_content_is_no_conflict() -> None:
    assert found(a=unit("numpy", "2.1"), b=unit("numpy", "2.1")) == []


def test_several_versions_are_noted_if_they_are_loaded() -> None:
    (finding,) = found(a=unit("numpy", "2.1"), b=unit("numpy", "1.26"), c=unit("numpy", "2.1"))
    assert finding.level.value == "note"
    assert "numpy (1.26 in b; 2.1 in a, c)" in finding.what
    assert found(a=unit("pillow", "11"), b=unit("pillow", "12", loaded=False)) == []


def test_two_builds_of_one_version_are_two_copies() -> None:
    (finding,) = found(a=unit("numpy", "2.1", blas="1"), b=unit("numpy", "2.1", blas="2"))
    assert "numpy (2.1 in a; 2.1 in b)" in finding.what


def test_one_file_with_different_requirements_is_a_fault() -> None:
    """As uv and ``cp -l`` install it: the file is loaded with what the first site has."""
    one = unit("pandas", "3", file="1:7", numpy="2.5", six="1")
    fault, note = found(a=one, b=unit("pandas", "3", file="1:7", numpy="2.4", six="1"), c=one)
    assert fault.level.value == "fault"
    assert "pandas 3 is the same file for a, c and for b" in fault.what
    assert "numpy 2.5 and 2.4." in fault.what
    assert "--link-mode copy" in fault.remedy
    assert note.level.value == "note"


def test_it_is_a_warning_while_one_is_only_installed() -> None:
    (finding,) = found(
        a=unit("pandas", "3", file="1:7", numpy="2.5"),
        b=unit("pandas", "3", file="1:7", numpy="2.4", loaded=False),
    )
    assert finding.level.value == "warning"
