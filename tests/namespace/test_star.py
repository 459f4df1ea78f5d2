"""``from a import *``."""

from __future__ import annotations

from .worlds import Program

NAMES = "result = sorted(name for name in globals() if name.isalpha() or name == '_under')"


def test_public_names(program: Program) -> None:
    assert program({"a.py": "one = 1\n_under = 2\nimport math"}, f"from a import *\n{NAMES}") == [
        "math",
        "one",
    ]


def test_all(program: Program) -> None:
    files = {"a.py": "__all__ = ['one', '_under']\none = 1\n_under = 2\nother = 3"}
    assert program(files, f"from a import *\n{NAMES}") == ["_under", "one"]


def test_all_imports_submodules(program: Program) -> None:
    files = {"shop/__init__.py": "__all__ = ['a', 'b']", "shop/a.py": "", "shop/b.py": ""}
    assert program(files, f"from shop import *\n{NAMES}") == ["a", "b"]


def test_submodules_are_not_imported_without_all(program: Program) -> None:
    files = {"shop/__init__.py": "x = 1", "shop/a.py": ""}
    assert program(files, f"from shop import *\n{NAMES}") == ["x"]


def test_all_names_what_is_missing(program: Program) -> None:
    assert (
        program(
            {"shop/__init__.py": "__all__ = ['gone']"},
            """
        try:
            from shop import *
        except AttributeError as exc:
            result = str(exc)
        """,
        )
        == "module 'shop' has no attribute 'gone'"
    )


def test_all_of_wrong_type(program: Program) -> None:
    assert (
        program(
            {"shop/__init__.py": "__all__ = [3]"},
            """
        try:
            from shop import *
        except TypeError as exc:
            result = str(exc)
        """,
        )
        == "Item in shop.__all__ must be str, not int"
    )


def test_relative(program: Program) -> None:
    files = {
        "shop/__init__.py": "from .a import *\nfrom .b import *",
        "shop/a.py": "one = 1",
        "shop/b.py": "two = 2",
    }
    assert program(files, "import shop\nresult = [shop.one, shop.two]") == [1, 2]


def test_of_modules_that_are_views_or_private(program: Program) -> None:
    assert program(
        {},
        """
        from os import *
        from logging import *
        from unittest.mock import *
        from time import *
        result = [getenv("HOME"), getLogger().name, patch.__module__, "environ" in globals()]
        """,
    ) == ["/home/nobody", "root", "unittest.mock", True]
