"""``from . import a``, ``from ..a import b`` (PEP 328)."""

from __future__ import annotations

from .worlds import Program

TREE = {
    "shop/__init__.py": "top = 'shop'",
    "shop/tax.py": "rate = 19",
    "shop/models/__init__.py": "from .item import tea",
    "shop/models/item.py": """
        from . import colour
        from .. import tax, top
        from ..tax import rate as percent
        from .colour import green
        tea = [colour.green, tax.rate, top, percent, green]
        """,
    "shop/models/colour.py": "green = 'g'",
}


def test_levels(program: Program) -> None:
    assert program(TREE, "from shop.models import tea\nresult = tea") == ["g", 19, "shop", 19, "g"]


def test_inside_a_function(program: Program) -> None:
    files = {
        **TREE,
        "shop/lazy.py": """
            def late():
                from . import tax
                from .models.colour import green
                return [tax.rate, green]
            """,
    }
    assert program(files, "from shop import lazy\nresult = lazy.late()") == [19, "g"]


def test_beyond_the_top(program: Program) -> None:
    assert program(
        {"shop/__init__.py": "", "shop/far.py": "from .. import other"},
        """
        try:
            import shop.far
        except ImportError as exc:
            result = [type(exc).__name__, str(exc)]
        """,
    ) == ["ImportError", "attempted relative import beyond top-level package"]


def test_without_a_package(program: Program) -> None:
    assert (
        program(
            {"alone.py": "from . import other"},
            """
        result = []
        for statement in ("import alone", "from . import alone", "from .alone import x"):
            try:
                exec(statement, {"__name__": "probe", "__package__": ""})
            except ImportError as exc:
                result.append([type(exc).__name__, str(exc)])
        """,
        )
        == [["ImportError", "attempted relative import with no known parent package"]] * 3
    )


def test_by_spec_when_there_is_no_package(program: Program) -> None:
    """``__package__`` may be None: then ``__spec__.parent`` says where a module stands."""
    assert program(
        {"shop/__init__.py": "", "shop/a.py": "b = 1"},
        """
        import importlib.machinery
        spec = importlib.machinery.ModuleSpec("shop.probe", None)
        variables = {"__name__": "shop.probe", "__package__": None, "__spec__": spec}
        exec("from . import a; from .a import b", variables)
        result = [variables["a"].__name__, variables["b"]]
        """,
    ) == ["shop.a", 1]


def test_a_missing_sibling(program: Program) -> None:
    assert program(
        {"shop/__init__.py": "", "shop/a.py": ""},
        """
        result = []
        for statement in ("from .gone import x", "from . import gone", "from .a import gone"):
            try:
                exec(statement, {"__name__": "shop.b", "__package__": "shop"})
            except ImportError as exc:
                text = str(exc).replace(__file__.removesuffix("main.py"), "")
                result.append([type(exc).__name__, exc.name, text])
        """,
    ) == [
        ["ModuleNotFoundError", "shop.gone", "No module named 'shop.gone'"],
        ["ImportError", "shop", "cannot import name 'gone' from 'shop' (shop/__init__.py)"],
        ["ImportError", "shop.a", "cannot import name 'gone' from 'shop.a' (shop/a.py)"],
    ]
