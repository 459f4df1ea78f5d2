"""Modules that import each other."""

from __future__ import annotations

from .worlds import Program


def test_import(program: Program) -> None:
    assert program(
        {
            "a.py": "import b\nvalue = 1\ndef total(): return value + b.value",
            "b.py": "import a\nvalue = 2\ndef total(): return value + a.value",
        },
        "import a, b\nresult = [a.total(), b.total()]",
    ) == [3, 3]


def test_from_package_import_submodule(program: Program) -> None:
    """``import_from`` in ceval.c falls back to ``sys.modules`` in a cycle (bpo-17636)."""
    assert program(
        {
            "shop/__init__.py": "",
            "shop/a.py": "from shop import b\ndef f(): return 1 + b.f()",
            "shop/b.py": "from shop import a\nfrom . import a as again\n"
            "same = a is again\ndef f(): return 2",
        },
        "from shop import a, b\nresult = [a.f(), b.same, b.a is a]",
    ) == [3, True, True]


def test_import_as(program: Program) -> None:
    """``import a.b as c`` works in a cycle too (bpo-30024)."""
    assert (
        program(
            {
                "shop/__init__.py": "",
                "shop/x/__init__.py": "",
                "shop/x/a.py": "import shop.x.b as b\nname = b.other.__name__",
                "shop/x/b.py": "import shop.x.a as other",
            },
            "import shop.x.a\nresult = shop.x.a.name",
        )
        == "shop.x.a"
    )


def test_from_the_package_that_imports_it(program: Program) -> None:
    assert program(
        {
            "shop/__init__.py": "from shop.models import Item\nfrom . import models",
            "shop/models.py": "import shop\nfrom shop import models\n"
            "class Item: home = models.__name__",
        },
        "import shop\nresult = [shop.Item.home, shop.models.models is shop.models]",
    ) == ["shop.models", True]


def test_a_name_that_is_not_there_yet(program: Program) -> None:
    assert program(
        {"a.py": "from b import thing\nother = 1", "b.py": "from a import other\nthing = 1"},
        """
        try:
            import a
        except ImportError as exc:
            result = [type(exc).__name__, exc.name, str(exc).partition(" (")[0]]
            result.append("circular import" in str(exc))
        """,
    ) == [
        "ImportError",
        "a",
        "cannot import name 'other' from partially initialized module 'a'",
        True,
    ]


def test_an_attribute_that_is_not_there_yet(program: Program) -> None:
    assert program(
        {
            "shop/__init__.py": "",
            "shop/a.py": "import shop.b\nother = 1",
            "shop/b.py": "import sys\nsys.modules['shop.a'].other",
        },
        """
        import re
        try:
            import shop.a
        except AttributeError as exc:
            result = re.sub(" from '.*py'", "", str(exc))  # since Python 3.13
        """,
    ) == (
        "partially initialized module 'shop.a' has no attribute 'other' "
        "(most likely due to a circular import)"
    )


def test_a_submodule_is_not_bound_before_its_end(program: Program) -> None:
    """Here a namespace is more lenient: C looks where a namespace cannot put anything, so the
    module is bound early, for everybody to see."""
    assert program(
        {
            "shop/__init__.py": "",
            "shop/a.py": "from shop import b",
            "shop/b.py": "import shop\nfrom shop import a\nseen = hasattr(shop, 'a')",
        },
        "import shop.a\nresult = shop.b.seen",
    ) == program.either(plain=False, namespace=True)


def test_plain_import_binds_nothing_early(program: Program) -> None:
    assert program(
        {
            "shop/__init__.py": "",
            "shop/a.py": "import shop.b",
            "shop/b.py": "import shop.a\nimport shop\nseen = hasattr(shop, 'a')",
        },
        "import shop.a\nresult = shop.b.seen",
    ) == program.either(plain=False, namespace=True)


def test_an_early_submodule_goes_with_its_failure(program: Program) -> None:
    assert program(
        {
            "shop/__init__.py": "",
            "shop/a.py": "from shop import b\nraise ValueError",
            "shop/b.py": "from shop import a",
        },
        """
        import sys, shop
        for _ in range(2):
            try:
                import shop.a
            except ValueError:
                pass
        result = [hasattr(shop, "a"), hasattr(shop, "b"), "shop.a" in sys.modules]
        """,
    ) == [False, True, False]


def test_a_name_of_the_package_wins_over_a_submodule(program: Program) -> None:
    """A module replaced by a function of its name (as in ``from .total import total``)."""
    assert program(
        {
            "shop/__init__.py": "from .total import total",
            "shop/total.py": "def total(): return 7",
        },
        """
        from shop import total
        import shop.total as again
        result = [total(), again is total]
        """,
    ) == [7, True]


def test_a_package_that_imports_its_parts_when_they_are_wanted(program: Program) -> None:
    """As numpy does it, while the part itself is being imported."""
    assert program(
        {
            "shop/__init__.py": """
                calls = []
                def __getattr__(name):
                    if name == "part":
                        calls.append(name)
                        import shop.part as part
                        return part
                    raise AttributeError(name)
                """,
            "shop/part/__init__.py": "import shop.part.deep\nfrom . import other\nx = 1",
            "shop/part/deep.py": "import shop.part.other",
            "shop/part/other.py": "from shop.part import deep",
        },
        "import shop\nresult = [shop.part.x, shop.part.deep.__name__, shop.calls]",
    ) == [1, "shop.part.deep", ["part"]]
