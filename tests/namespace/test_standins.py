"""Stand-ins in the interpreter's ``sys.modules``, seen from the process and from a namespace."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gateway.namespace import Namespace, installed, standins

from .worlds import load, write

EVENTS = "import threading\nbegun, done = threading.Event(), threading.Event()"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path of the process too, with modules of its own."""
    folder = tmp_path / "process"
    write(
        folder,
        {
            "both/__init__.py": "side = 'process'",
            "both/inner.py": "side = 'process inner'",
            "uses_both.py": """
                import both
                from both import side
                def late():
                    import both.inner
                    return both.inner.side
                """,
            "tries.py": """
                try:
                    import only
                except ImportError:
                    only = None
                def late():
                    try:
                        import only
                    except ImportError:
                        return None
                    return only
                """,
        },
    )
    write(
        tmp_path / "site",
        {
            "both/__init__.py": "side = 'site'",
            "both/inner.py": "side = 'site inner'",
            "only/__init__.py": "side = 'site'",
            "only/inner.py": "side = 'site'",
        },
    )
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield tmp_path / "site"
    own = ("both", "uses_both", "tries", "only", "slow", "waits", "new", "antigravity")
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in own:
            del sys.modules[name]


def test_a_name_that_only_a_namespace_has(folder: Path) -> None:
    with installed():
        namespace = Namespace("site", path=[folder])
        load(namespace, "import only.inner")
        for name in ("only", "only.inner", "only.gone"):
            with pytest.raises(ModuleNotFoundError):
                importlib.import_module(name)
            with pytest.raises(ModuleNotFoundError):
                exec(f"import {name}", {})
            with pytest.raises(ModuleNotFoundError):
                exec(f"from {name} import side", {})
        with pytest.raises(ModuleNotFoundError):
            exec("from only import inner", {})
        assert importlib.util.find_spec("only") is None or not sys.modules["only"]
        import tries  # type: ignore[import-not-found]

        assert tries.only is None
        assert tries.late() is None
    assert "only" not in sys.modules


def test_the_process_gets_its_own(folder: Path) -> None:
    """Imported before or after the namespace has one of that name, as a whole or by name."""
    with installed():
        namespace = Namespace("site", path=[folder])
        assert load(namespace, "import both; side = both.side")["side"] == "site"
        import both  # type: ignore[import-not-found]
        import uses_both  # type: ignore[import-not-found]

        assert both.side == uses_both.side == uses_both.both.side == "process"
        assert uses_both.late() == both.inner.side == "process inner"
        late = load(namespace, "from both import inner; import both; found = both.inner.side")
        assert late["found"] == late["inner"].side == "site inner"
        assert type(late["both"]) is type(late["inner"]) is types.ModuleType
    # What the process has bound in the meantime goes on.
    assert both.side == uses_both.both.side == "process"
    assert uses_both.late() == "process inner"
    assert type(sys.modules["both"]) is types.ModuleType


def test_imported_before(folder: Path) -> None:
    import both

    with installed():
        namespace = Namespace("site", path=[folder])
        found = load(namespace, "import both, both.inner; from both import side")
        assert found["side"] == "site"
        both.mark = 1
        assert not hasattr(found["both"], "mark")
        assert sys.modules["both"].mark == 1
        sys.modules["both"].other = 2
        assert both.other == 2
        del sys.modules["both"].other
        assert not hasattr(both, "other")
    assert sys.modules["both"] is both


def test_attributes(folder: Path) -> None:
    with installed():
        namespace = Namespace("site", path=[folder])
        load(namespace, "import only")
        stand_in: Any = sys.modules["only"]
        assert isinstance(stand_in, types.ModuleType)
        assert not stand_in
        assert "only" in repr(stand_in)
        assert vars(stand_in) == {}
        assert not hasattr(stand_in, "side")
        assert not hasattr(stand_in, "__path__")
        with pytest.raises(AttributeError, match=r"module 'only' has no attribute 'side'"):
            stand_in.side  # noqa: B018
        with pytest.raises(AttributeError):
            stand_in.side = 3
        look = load(namespace, "def look(m): return bool(m), m.side, 'side' in dir(m)")["look"]
        assert look(stand_in) == (True, "site", True)


def test_a_walk_imports_nothing(folder: Path) -> None:
    """Also one that reads what the import system reads."""
    with installed():
        first, second = (Namespace(name, path=[folder]) for name in "ab")
        load(first, "import only.inner, both.inner")
        source = """
            def walk(modules):
                for module in modules:
                    for name in ("__spec__", "__path__", "__file__", "__dict__", "__name__"):
                        getattr(module, name, None)
            """
        process: dict[str, Any] = {"__name__": __name__}
        exec(dedent(source), process)
        modules = list(sys.modules.values())
        for walk in (load(second, source)["walk"], load(first, source)["walk"], process["walk"]):
            walk(modules)
        assert not {"only", "both", "only.inner"} & second.modules.keys()


def test_none_of_the_process_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process forbids itself, it forbids nobody else, and goes on to."""
    monkeypatch.setitem(sys.modules, "both", None)  # type: ignore[arg-type]
    with installed():
        namespace = Namespace("site", path=[folder])
        assert load(namespace, "import both; side = both.side")["side"] == "site"
        with pytest.raises(ModuleNotFoundError):
            import both  # noqa: F401
    assert "both" in sys.modules and sys.modules["both"] is None


def test_private_parts_of_the_standard_library(hooks: None) -> None:
    """The process's ``logging`` is there for shared code, whoever was first."""
    import asyncio
    import logging

    namespace = Namespace("site")
    found = load(namespace, "import logging, unittest, asyncio.log")
    assert found["logging"] is not logging
    assert found["asyncio"].log.logger is asyncio.log.logger  # type: ignore[attr-defined]
    assert type(asyncio.log.logger) is logging.Logger  # type: ignore[attr-defined]
    assert type(sys.modules["json"]) is types.ModuleType


def test_shared_modules_get_no_stand_in(hooks: None) -> None:
    """Also if a program takes all of its ``sys.modules`` out and puts it back."""
    namespace = Namespace("site")
    load(
        namespace,
        """
        import asyncio, json, os, sys, threading
        from unittest.mock import patch
        with patch.dict(sys.modules):
            sys.modules.pop("json")
        sys.modules.update(dict(sys.modules))
        """,
    )
    for name in ("json", "os", "threading", "asyncio", "sys", "builtins", "json.decoder"):
        assert type(sys.modules[name]) is types.ModuleType


def test_a_module_that_waits_for_another_thread(hooks: None, folder: Path) -> None:
    """The process imports its own while a namespace imports something else."""
    write(
        folder.parent / "process",
        {
            "slow.py": EVENTS,
            "waits.py": """
                import slow
                slow.begun.set()
                side = 'process' if slow.done.wait(10) else 'nobody came'
                """,
        },
    )
    import slow  # type: ignore[import-not-found]

    write(folder, {"waits.py": "side = 'site'", "new.py": "x = 1"})
    namespace = Namespace("a", path=[folder])
    load(namespace, "import waits")

    def other() -> None:
        assert slow.begun.wait(10)
        load(namespace, "import new")
        slow.done.set()

    thread = threading.Thread(target=other)
    thread.start()
    module = importlib.import_module("waits")
    thread.join()
    assert module.side == "process"
    assert load(namespace, "import waits; side = waits.side")["side"] == "site"
    namespace.close()


def test_two_namespaces_that_need_the_same_part_of_the_standard_library(
    hooks: None, folder: Path
) -> None:
    """The second one waits until the process has all of it: parts import each other.

    The part is called ``antigravity`` here, which nobody else needs.
    """
    source = """
        import slow
        slow.begun.set()
        slow.done.wait(0.3)
        complete = True
        """
    write(folder.parent / "process", {"slow.py": EVENTS, "antigravity.py": source})
    import slow

    first = threading.Thread(target=standins.ensure, args=("antigravity",))
    first.start()
    assert slow.begun.wait(10)
    standins.ensure("antigravity")
    assert standins.replaced("antigravity").complete  # type: ignore[union-attr]
    first.join()
