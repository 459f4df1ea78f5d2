"""Packages without ``__init__.py``, spread over the path (PEP 420)."""

from __future__ import annotations

from .worlds import Program

FILES = {"one/shop/a.py": "x = 1", "two/shop/b.py": "x = 2", "two/shop/sub/c.py": "x = 3"}
PATHS = """
import os, sys
here = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(here, "one"), os.path.join(here, "two")]
"""


def test_portions(program: Program) -> None:
    assert program(
        FILES,
        PATHS
        + """
import shop.a, shop.b, shop.sub.c
from shop import b
result = [shop.a.x, b.x, shop.sub.c.x, shop.__file__, len(shop.__path__)]
result += [shop.__spec__.origin, type(shop.__path__).__name__, shop.__spec__.loader is not None]
""",
    ) == [1, 2, 3, None, 2, None, "_NamespacePath", True]


def test_a_portion_that_comes_later(program: Program) -> None:
    assert program(
        FILES,
        """
        import os, sys
        here = os.path.dirname(os.path.abspath(__file__))
        sys.path.append(os.path.join(here, "one"))
        import shop.a
        try:
            import shop.b
        except ImportError as exc:
            result = [str(exc)]
        sys.path.append(os.path.join(here, "two"))
        import shop.b
        result.append(shop.b.x)
        """,
    ) == ["No module named 'shop.b'", 2]


def test_a_regular_package_wins(program: Program) -> None:
    assert program(
        {**FILES, "three/shop/__init__.py": "y = 9"},
        PATHS
        + """
sys.path.append(os.path.join(here, "three"))
import shop
result = [shop.y, shop.__file__ is not None]
""",
    ) == [9, True]


def test_a_module_wins_over_a_folder_behind_it(program: Program) -> None:
    assert (
        program(
            {"one/shop/a.py": "", "two/shop.py": "y = 9"},
            PATHS + "import shop\nresult = shop.y",
        )
        == 9
    )


def test_relative_imports(program: Program) -> None:
    assert program(
        {"one/shop/a.py": "from . import b\nfrom .b import x", "two/shop/b.py": "x = 4"},
        PATHS + "import shop.a\nresult = [shop.a.x, shop.a.b.x]",
    ) == [4, 4]


def test_shared_with_a_folder_of_the_project(program: Program) -> None:
    """Every folder of a project is a package; none of them hides the standard library."""
    assert program(
        {"locale/de.txt": "", "email/order.txt": "", "queue.txt": "", "html/index.html": ""},
        """
        import sys, email.message, html, locale, queue, asyncio.queues, json
        result = [
            hasattr(locale, "setlocale"), hasattr(html, "escape"),
            sys.modules["email.message"].Message.__module__,
            queue.Empty.__mro__[1].__name__,
        ]
        from concurrent.futures import thread
        result.append(thread.queue is queue)
        """,
    ) == [True, True, "email.message", "Exception", True]
