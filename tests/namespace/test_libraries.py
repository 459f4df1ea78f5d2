"""Rules for single libraries: where they are, and that none of them can stop a site."""

from __future__ import annotations

import ast
import http.client
import logging
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest

import gateway.namespace
from gateway.namespace import Namespace, libraries
from gateway.namespace.libraries.library import Library

from .venvs import SO, dist, installed_or_skip, make_venv, site_packages
from .worlds import load

ROOM = Path(gateway.namespace.__file__).parent
RULES = [name for name, value in vars(Library).items() if callable(value)]


def names_in(tree: ast.AST) -> Iterator[str]:
    """The identifiers and strings of a module, docstrings included."""
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            values = value if isinstance(value, list) else [value]
            yield from (each for each in values if isinstance(each, str))


def test_only_the_rules_name_libraries() -> None:
    known = "|".join(map(re.escape, [*libraries.TABLE, "asgiref", "sentry"]))
    a_library = re.compile(rf"(?<![a-z0-9])({known})(?![a-z0-9])", re.IGNORECASE)
    found = {
        f"{path.relative_to(ROOM)}: {name}"
        for path in ROOM.rglob("*.py")
        if not path.is_relative_to(ROOM / "libraries")
        for name in names_in(ast.parse(path.read_text()))
        if a_library.search(name)
    }
    assert found == set()


def test_each_library_has_a_file_with_its_name() -> None:
    files = {path.stem for path in (ROOM / "libraries").glob("*.py")}
    assert files == {*libraries.TABLE, "__init__", "library"}
    for name, library in libraries.TABLE.items():
        assert type(library).__module__ == f"gateway.namespace.libraries.{name}"


@pytest.mark.parametrize("name", libraries.TABLE)
def test_a_library_with_rules_says_what_happens_without(name: str) -> None:
    overridden = [rule for rule in RULES if rule in vars(type(libraries.TABLE[name]))]
    assert bool(libraries.TABLE[name].otherwise) == bool({*overridden} - {"__init__"})


@pytest.fixture
def renamed(tmp_path: Path) -> Path:
    """An environment with the real psycopg, in which a private attribute has another name."""
    venv = make_venv(tmp_path / "renamed", {})
    for name in ("psycopg", "psycopg-binary", "typing_extensions"):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            source, target = Path(distribution(name).locate_file(top)), site_packages(venv) / top
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
    changed = site_packages(venv) / "psycopg/_adapters_map.py"
    assert "_optimised" in changed.read_text()
    changed.write_text(changed.read_text().replace("_optimised", "_optimized"))
    (record,) = site_packages(venv).glob("psycopg-*.dist-info/RECORD")
    record.write_text(record.read_text() + "psycopg/other,sha256=other,0\n")
    return venv


USING = """
import psycopg
from psycopg import sql
from psycopg.adapt import Dumper
class Money: pass
class MoneyDumper(Dumper):
    def dump(self, value): return b"money"
psycopg.adapters.register_dumper(Money, MoneyDumper)
text = sql.Literal(Money()).as_string(None), sql.Literal("x").as_string(None)
"""


def test_a_renamed_private_attribute_stops_no_site(
    hooks: None, renamed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The site goes on without the rule, and the log says so once, not for each site."""
    for name in ("shop", "blog"):
        namespace = Namespace(name, venv=renamed)
        assert load(namespace, USING)["text"] == ("'money'", "'x'")
        assert namespace.close() == []
    (record,) = warnings_in(caplog)
    version = distribution("psycopg").version
    assert f"psycopg {version}" in record
    assert "what a site registers with it counts for all sites that share it" in record
    assert "AttributeError" in record
    assert "_optimised" in record


@pytest.mark.parametrize("name", ["psycopg", "psycopg2", "wrapt"])
def test_a_library_without_anything_that_is_known_of_it(
    hooks: None, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = (f"{name}/__init__.py", f"{name}/_c{SO}")
    venv = make_venv(tmp_path / "venv", dist(name, "99.5", files=files))
    namespace = Namespace("shop", venv=venv)
    assert load(namespace, f"import {name} as module")["module"].__name__ == name
    assert namespace.close() == []
    (record,) = warnings_in(caplog)
    assert record.startswith(f"{name} 99.5 is not as expected: {libraries.TABLE[name].otherwise} (")


def test_a_rule_that_fails_at_the_end_of_a_generation(
    hooks: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def released(domain: object) -> None:
        raise LookupError("not there")

    monkeypatch.setattr(libraries.TABLE["lxml"], "released", released)
    for _ in range(2):
        namespace = Namespace("shop")
        assert namespace.close() == []
    (record,) = warnings_in(caplog)
    assert "lxml" in record
    assert record.endswith("stays in memory (LookupError: not there)")


PATCHING = """
import http.client
import wrapt

calls = []

def count(wrapped, instance, args, kwargs):
    calls.append((type(instance).__name__, args))
    return wrapped(*args, **kwargs)

wrapt.wrap_function_wrapper("http.client", "HTTPConnection.set_debuglevel", count)

def use():
    http.client.HTTPConnection("localhost").set_debuglevel(0)
    return calls
"""


def test_a_patch_made_with_wrapt_is_confined(hooks: None, caplog: pytest.LogCaptureFixture) -> None:
    """The site's own wrapper is found in the wrapper, which is no function."""
    before = http.client.HTTPConnection.set_debuglevel
    venv = installed_or_skip(["wrapt~=2.0"])
    namespace = Namespace("watched", venv=venv)
    watched = load(namespace, PATCHING)
    assert namespace.confine_patches() == ["HTTPConnection.set_debuglevel"]
    http.client.HTTPConnection("localhost").set_debuglevel(0)
    assert watched["calls"] == []
    assert watched["use"]() == [("HTTPConnection", (0,))]
    assert namespace.close() == []
    assert http.client.HTTPConnection.set_debuglevel is before
    assert warnings_in(caplog) == []


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings of the gateway's log."""
    records = caplog.records
    return [each.getMessage() for each in records if each.levelno >= logging.WARNING]
