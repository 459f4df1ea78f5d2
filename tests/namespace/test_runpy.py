"""``runpy``: running modules and files as scripts."""

from __future__ import annotations

from .worlds import Program

FILES = {
    "shop/__init__.py": "",
    "shop/__main__.py": """
        import sys
        from . import a
        ran = [__name__, __package__, a.x, sys.argv[1:]]
        """,
    "shop/a.py": "x = 1\nnames = [__name__, __spec__.name]",
    "script.py": """
        import sys, __main__
        from late import y
        seen = [__name__, __spec__ is None, y, sys.argv[0] == __file__]
        seen.append(__main__.__file__ == __file__)
        """,
    "late.py": "y = 2",
}


def test_run_module(program: Program) -> None:
    assert program(
        FILES,
        """
        import runpy, sys
        ran = runpy.run_module("shop.a", init_globals={"given": 1})
        result = [ran["names"], ran["given"], "shop.a" in sys.modules]
        """,
    ) == [["shop.a", "shop.a"], 1, False]


def test_run_module_as_main(program: Program) -> None:
    assert program(
        FILES,
        """
        import runpy, sys
        before = sys.modules["__main__"]
        ran = runpy.run_module("shop", run_name="__main__", alter_sys=True)
        result = [ran["ran"], sys.modules["__main__"] is before]
        """,
        args=["--x"],
    ) == [["__main__", "shop", 1, ["--x"]], True]


def test_run_path(program: Program) -> None:
    assert program(
        FILES,
        """
        import os, runpy, sys
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "script.py")
        before = list(sys.argv)
        ran = runpy.run_path(path, run_name="__main__")
        result = [ran["seen"], sys.argv == before]
        """,
    ) == [["__main__", True, 2, True, True], True]


def test_run_path_of_a_folder(program: Program) -> None:
    assert program(
        {"app/__main__.py": "import helper\nx = helper.y", "app/helper.py": "y = 7"},
        """
        import os, runpy, sys
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "app")
        result = [runpy.run_path(path)["x"], path in sys.path]
        """,
    ) == [7, False]


def test_missing(program: Program) -> None:
    assert program(
        FILES,
        """
        import runpy
        result = []
        for name in ("gone", "shop.gone", "gone.x", "late.x"):
            try:
                runpy.run_module(name)
            except ImportError as exc:
                result.append(str(exc))
        """,
    ) == [
        "No module named gone",
        "No module named shop.gone",
        "Error while finding module specification for 'gone.x' "
        "(ModuleNotFoundError: No module named 'gone')",
        "Error while finding module specification for 'late.x' (ModuleNotFoundError: "
        "__path__ attribute not found on 'late' while trying to find 'late.x')",
    ]
