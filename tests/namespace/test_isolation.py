"""Two namespaces whose every module has the same name, and the process beside them."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.namespace import Namespace

from .worlds import load, write

SHOP = {
    "core/__init__.py": "",
    "core/settings.py": "import os\nNAME = os.environ['NAME']",
    "core/late.py": "from core import settings\nname = settings.NAME",
    "shop/__init__.py": "",
    "shop/models.py": """
        from __future__ import annotations
        import dataclasses, enum, typing
        from core.settings import NAME
        @dataclasses.dataclass
        class Item:
            size: Size
            count: typing.ClassVar[int] = 0
        class Size: pass
        class Colour(enum.Enum):
            OWN = NAME
        """,
    "shop/views.py": """
        import os, os.path, pickle, sys, threading, typing
        from core.settings import NAME
        from shop.models import Colour, Item, Size
        def view():
            from core import late
            import shop.later
            found = []
            def work(): found.append(__import__("core.late").late.name)
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            item = pickle.loads(pickle.dumps(Item(Size())))
            assert type(item) is Item and type(item.size) is Size
            assert pickle._loads(pickle._dumps(Colour.OWN)) is Colour.OWN
            assert typing.get_type_hints(Item)["size"] is Size
            assert sys.modules["shop.models"].Item is Item
            return {NAME, late.name, shop.later.name, *found, Colour.OWN.value,
                    os.path.expanduser("~"), os.environ["NAME"]}
        """,
    "shop/later.py": "import os\nname = os.getenv('NAME')",
}


@dataclass
class Side:
    name: str
    namespace: Namespace


@pytest.fixture
def sides(hooks: None, tmp_path: Path) -> Iterator[list[Side]]:
    sides = []
    for name in ("left", "right"):
        write(tmp_path / name, SHOP)
        environ = {"NAME": name, "HOME": name}
        sides.append(Side(name, Namespace(name, path=[tmp_path / name], environ=environ)))
    yield sides
    for side in sides:
        assert side.namespace.close() == []


def test_nothing_is_the_same(sides: list[Side]) -> None:
    first, second = (side.namespace.import_module("shop.models") for side in sides)
    assert first is not second
    assert first.Item is not second.Item
    assert first.Colour.OWN.value == "left"
    assert second.Colour.OWN.value == "right"
    names = {"core", "core.settings", "shop", "shop.models", "__main__", "logging", "importlib"}
    for name in names - {"logging", "importlib"}:
        modules = [side.namespace.import_module(name) for side in sides]
        assert modules[0] is not modules[1]
    assert not names & {"core", "shop"} & sys.modules.keys() or not sys.modules["shop"]


def test_the_standard_library_is_the_same(sides: list[Side]) -> None:
    import decimal
    import json

    for side in sides:
        assert side.namespace.import_module("json") is json
        assert side.namespace.import_module("decimal").Decimal is decimal.Decimal


def test_interleaved_in_threads(sides: list[Side]) -> None:
    """Threads of the process, each of which works now for the one and now for the other."""
    views = [(side.name, side.namespace.import_module("shop.views").view) for side in sides]

    def visit(n: int) -> bool:
        name, view = views[n % 2]
        return bool(view() == {name})

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(visit, range(200)))


def test_pickle_in_threads_by_owner(sides: list[Side]) -> None:
    """Executors that namespaces made: nothing else tells for whom a thread works."""
    pools = []
    for side in sides:
        source = """
            import pickle
            from concurrent.futures import ThreadPoolExecutor
            from shop.models import Item, Size
            pool = ThreadPoolExecutor(4)
            blob = pickle.dumps(Item(Size()))
            def submit(function):
                return pool.submit(function, blob)
            """
        pools.append(load(side.namespace, source))
    assert pools[0]["blob"] == pools[1]["blob"]
    futures = []
    for _ in range(50):
        for variables in pools:
            for loads in (pickle.loads, pickle._loads):  # type: ignore[attr-defined]
                futures.append((variables, variables["submit"](loads)))
    for variables, future in futures:
        assert type(future.result(20)) is variables["Item"]
    for variables in pools:
        variables["pool"].shutdown()


def test_the_process_finds_nothing(sides: list[Side]) -> None:
    for side in sides:
        side.namespace.import_module("shop.views").view()
    with pytest.raises(ModuleNotFoundError, match=r"shop"):
        import shop.models  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"core"):
        pickle.loads(b"ccore.settings\nNAME\n.")
    with ThreadPoolExecutor(1) as pool, pytest.raises(ModuleNotFoundError):
        pool.submit(pickle.loads, b"cshop.models\nItem\n.").result()
    assert "NAME" not in os.environ


def test_each_calls_the_other(sides: list[Side]) -> None:
    """A call from one into the other asks for the other, and afterwards for the one again."""
    inner = load(sides[1].namespace, "import os.path\ndef home(): return os.path.expanduser('~')")
    outer = load(
        sides[0].namespace,
        """
        import os.path
        def homes(other):
            return [os.path.expanduser("~"), other(), os.path.expanduser("~")]
        """,
    )
    assert outer["homes"](inner["home"]) == ["left", "right", "left"]


def test_the_import_state(sides: list[Side], tmp_path: Path) -> None:
    before = list(sys.path), list(sys.argv), list(sys.meta_path), dict(sys.path_importer_cache)
    change = """
        import sys
        sys.path.append("/added")
        sys.argv[:] = ["changed"]
        sys.meta_path.append(object())
        sys.path_hooks.clear()
        sys.modules["made"] = sys
        sys.path_importer_cache.clear()
        sys.dont_write_bytecode = True
        """
    load(sides[0].namespace, change)
    look = "import sys; seen = sys.path[-1], sys.argv, len(sys.path_hooks), 'made' in sys.modules"
    path, argv, hooks, made = load(sides[1].namespace, look)["seen"]
    assert (path != "/added", argv, hooks > 0, made) == (True, [""], True, False)
    assert before == (
        list(sys.path),
        list(sys.argv),
        list(sys.meta_path),
        dict(sys.path_importer_cache),
    )
    assert "made" not in sys.modules or not sys.modules["made"]


def test_many_at_once(hooks: None, tmp_path: Path) -> None:
    """Namespaces that are made, used and dropped in many threads at the same time."""
    for n in range(4):
        write(tmp_path / str(n), SHOP)
    failures: list[Any] = []

    def work(n: int) -> None:
        try:
            for turn in range(3):
                name = f"{n}-{turn}"
                environ = {"NAME": name, "HOME": name}
                namespace = Namespace(name, path=[tmp_path / str(n % 4)], environ=environ)
                assert namespace.import_module("shop.views").view() == {name}
                namespace.close()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
