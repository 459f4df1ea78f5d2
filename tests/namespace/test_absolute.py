"""``import a``, ``import a.b``, ``import a.b as c``, ``from a import b``."""

from __future__ import annotations

import pytest

from .worlds import Program

SHOP = {
    "shop/__init__.py": "name = __name__",
    "shop/models/__init__.py": "",
    "shop/models/item.py": "tea = 3",
}


def test_import_binds_the_top(program: Program) -> None:
    assert program(
        SHOP,
        """
        import shop.models.item
        result = [shop.__name__, shop.models.item.tea, "item" in globals()]
        """,
    ) == ["shop", 3, False]


def test_import_as_binds_the_module(program: Program) -> None:
    assert program(SHOP, "import shop.models.item as item\nresult = item.__name__") == (
        "shop.models.item"
    )


def test_from_import_finds_attributes_and_submodules(program: Program) -> None:
    main = "from shop import models, name\nresult = [models.__name__, name]"
    assert program(SHOP, main) == ["shop.models", "shop"]


def test_a_module_runs_once(program: Program) -> None:
    assert program(
        {"counted.py": "import log; log.lines.append(__name__)", "log.py": "lines = []"},
        """
        import log
        for _ in range(3):
            import counted
            from counted import log as again
        result = [log.lines, again is log]
        """,
    ) == [["counted"], True]


def test_attributes_of_a_module(program: Program) -> None:
    assert program(
        SHOP,
        """
        import os, sys, shop.models.item as item, shop
        from importlib.machinery import ModuleSpec, SourceFileLoader
        here = os.path.dirname(os.path.abspath(__file__))
        result = [
            item.__name__, item.__package__, os.path.relpath(item.__file__, here),
            [os.path.relpath(entry, here) for entry in shop.__path__],
            shop.__package__, type(item) is type(sys), type(item.__spec__) is ModuleSpec,
            type(item.__loader__) is SourceFileLoader, item.__spec__.name, item.__spec__.parent,
            item.__cached__ == item.__spec__.cached, item.__spec__.has_location, repr(item)[:26],
            type(item.__builtins__).__name__, item.__builtins__ is vars(sys.modules["builtins"]),
            hasattr(item, "__path__"), item.__doc__,
        ]
        """,
    ) == [
        "shop.models.item",
        "shop.models",
        "shop/models/item.py",
        ["shop"],
        "shop",
        True,
        True,
        True,
        "shop.models.item",
        "shop.models",
        True,
        True,
        "<module 'shop.models.item'",
        "dict",
        True,
        False,
        None,
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the process's, where it is shared
def test_the_standard_library_is_whole(program: Program) -> None:
    """Modules that are the process's, views of them, private copies: all of them import."""
    assert (
        program(
            {},
            """
        import sys, warnings
        unlike = {"antigravity", "this", "idlelib", "turtle", "turtledemo", "tkinter", "_tkinter"}
        unlike |= {"_ios_support", "_android_support"}
        here = sys.stdlib_module_names
        failed = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in sorted(here - unlike):
                try:
                    if __import__(name) is not sys.modules[name]:
                        failed.append(name)
                except ImportError as exc:
                    if exc.name is None or exc.name.partition(".")[0] not in here:
                        failed.append(f"{name}: {exc}")
        result = failed
        """,
        )
        == []
    )
