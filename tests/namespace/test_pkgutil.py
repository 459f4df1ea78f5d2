"""``pkgutil``: iterating over modules, resolving names, extending paths."""

from __future__ import annotations

from .worlds import Program

FILES = {
    "shop/__init__.py": "",
    "shop/a.py": "class Thing:\n    size = 3",
    "shop/sub/__init__.py": "import log\nlog.lines.append(__name__)",
    "shop/sub/b.py": "",
    "shop/bad/__init__.py": "raise ImportError('bad')",
    "log.py": "lines = []",
}


def test_iter_modules(program: Program) -> None:
    assert program(
        FILES,
        """
        import os, pkgutil, shop
        result = [[m.name, m.ispkg] for m in pkgutil.iter_modules(shop.__path__, "shop.")]
        here = os.path.dirname(os.path.abspath(__file__))
        top = [m.name for m in pkgutil.iter_modules() if m.module_finder.path == here]
        result += [sorted(top)]
        """,
    ) == [
        ["shop.a", False],
        ["shop.bad", True],
        ["shop.sub", True],
        ["log", "main", "shop"],
    ]


def test_walk_packages(program: Program) -> None:
    assert program(
        FILES,
        """
        import log, pkgutil, shop
        failed = []
        walk = pkgutil.walk_packages(shop.__path__, "shop.", onerror=failed.append)
        result = [[m.name for m in walk], failed, log.lines]
        """,
    ) == [["shop.a", "shop.bad", "shop.sub", "shop.sub.b"], ["shop.bad"], ["shop.sub"]]


def test_resolve_name(program: Program) -> None:
    assert program(
        FILES,
        """
        from pkgutil import resolve_name
        names = ("shop.a:Thing.size", "shop.a.Thing.size")
        result = [resolve_name(name) for name in names]
        result += [resolve_name("shop.sub").__name__, resolve_name("os:environ")["HOME"]]
        for name in ("shop.gone", "gone", "shop:gone"):
            try:
                resolve_name(name)
            except (ImportError, AttributeError) as exc:
                result.append(type(exc).__name__)
        """,
    ) == [
        3,
        3,
        "shop.sub",
        "/home/nobody",
        "AttributeError",
        "ModuleNotFoundError",
        "AttributeError",
    ]


def test_extend_path(program: Program) -> None:
    extend = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)"
    assert program(
        {
            "one/shop/__init__.py": extend,
            "one/shop/a.py": "x = 1",
            "two/shop/__init__.py": extend,
            "two/shop/b.py": "x = 2",
        },
        """
        import os, sys
        here = os.path.dirname(os.path.abspath(__file__))
        sys.path += [os.path.join(here, "one"), os.path.join(here, "two")]
        from shop import a, b
        result = [a.x, b.x]
        """,
    ) == [1, 2]


def test_iter_importers_and_get_importer(program: Program) -> None:
    assert program(
        FILES,
        """
        import pkgutil, sys
        finder = pkgutil.get_importer(sys.path[0])
        result = [
            finder is sys.path_importer_cache[sys.path[0]],
            sys.path_importer_cache[sys.path[0]] in list(pkgutil.iter_importers()),
            finder.find_spec("shop").name,
        ]
        """,
    ) == [True, True, "shop"]
