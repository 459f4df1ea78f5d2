"""``importlib.resources`` and ``pkgutil.get_data``: files beside the code."""

from __future__ import annotations

from .worlds import Program

FILES = {
    "shop/__init__.py": "",
    "shop/prices.txt": "tea 3",
    "shop/data/deep/more.txt": "more",
    "shop/data/x.bin": b"\0\1",
}


def test_files(program: Program) -> None:
    assert program(
        FILES,
        """
        import shop
        from importlib import resources
        root = resources.files("shop")
        result = [
            (root / "prices.txt").read_text(),
            resources.files(shop).joinpath("data", "x.bin").read_bytes().hex(),
            sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("__py")),
            (root / "gone").is_file(), (root / "data").is_dir(),
            resources.files("shop.data").joinpath("deep/more.txt").read_text(),
        ]
        """,
    ) == ["tea 3", "0001", ["__init__.py", "data", "prices.txt"], False, True, "more"]


def test_of_the_calling_package(program: Program) -> None:
    """Without an anchor it is the caller's package, since Python 3.12."""
    assert (
        program(
            {
                **FILES,
                "shop/own.py": "from importlib import resources\ndef own():\n"
                "    return (resources.files() / 'prices.txt').read_text()\n",
            },
            """
        import sys
        from shop import own
        result = own.own() if sys.version_info >= (3, 12) else "tea 3"
        """,
        )
        == "tea 3"
    )


def test_as_file(program: Program) -> None:
    assert program(
        FILES,
        """
        from importlib.resources import as_file, files
        with as_file(files("shop") / "prices.txt") as path:
            result = [path.name, path.read_text()]
        """,
    ) == ["prices.txt", "tea 3"]


def test_functions(program: Program) -> None:
    assert program(
        FILES,
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from importlib.resources import is_resource, open_text, read_text
        with open_text("shop", "prices.txt") as file:
            result = [file.read(), read_text("shop", "prices.txt"), is_resource("shop", "gone")]
        """,
    ) == ["tea 3", "tea 3", False]


def test_get_data(program: Program) -> None:
    assert (
        program(
            FILES,
            "import pkgutil\nresult = pkgutil.get_data('shop', 'data/deep/more.txt').decode()",
        )
        == "more"
    )


def test_resources_of_the_standard_library(program: Program) -> None:
    assert program(
        {},
        "from importlib.resources import files\n"
        "result = 'JSON' in files('json').joinpath('__init__.py').read_text()",
    )


def test_missing_package(program: Program) -> None:
    assert (
        program(
            {},
            """
        from importlib import resources
        try:
            resources.files("gone")
        except ModuleNotFoundError as exc:
            result = str(exc)
        """,
        )
        == "No module named 'gone'"
    )
