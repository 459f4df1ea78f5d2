"""Finders and loaders that a project brings: ``sys.meta_path`` and ``sys.path_hooks``."""

from __future__ import annotations

from .worlds import Program


def test_a_finder(program: Program) -> None:
    assert program(
        {},
        """
        import sys
        from importlib.abc import Loader, MetaPathFinder
        from importlib.machinery import ModuleSpec
        class Finder(MetaPathFinder, Loader):
            def find_spec(self, fullname, path, target=None):
                if fullname.partition(".")[0] == "made":
                    return ModuleSpec(fullname, self, is_package=fullname == "made")
            def create_module(self, spec):
                return None
            def exec_module(self, module):
                module.name = module.__name__
        sys.meta_path.insert(0, Finder())
        import made.up
        from made import other
        result = [made.up.name, other.name, made.name]
        """,
    ) == ["made.up", "made.other", "made"]


def test_a_finder_that_forbids(program: Program) -> None:
    assert program(
        {"a.py": "x = 1"},
        """
        import sys
        class Forbid:
            def find_spec(self, fullname, path, target=None):
                if fullname == "a":
                    raise ModuleNotFoundError("forbidden", name=fullname)
        sys.meta_path.insert(0, Forbid())
        try:
            import a
        except ModuleNotFoundError as exc:
            result = [str(exc), exc.name, "a" in sys.modules]
        """,
    ) == ["forbidden", "a", False]


def test_a_loader_that_changes_the_source(program: Program) -> None:
    """Type-checking import hooks (beartype, typeguard) do it; the code is theirs alone."""
    assert program(
        {"shop/a.py": "x = 1", "shop/b.py": "x = 1"},
        """
        import importlib, sys
        from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder
        from importlib.machinery import SourceFileLoader
        sys.dont_write_bytecode = True
        import shop.a
        class Doubling(SourceFileLoader):
            def source_to_code(self, data, path, *, _optimize=-1):
                return compile(bytes(data).replace(b"1", b"2"), path, "exec", optimize=_optimize)
        result = [shop.a.x]
        extensions = (ExtensionFileLoader, EXTENSION_SUFFIXES)
        sys.path_hooks.insert(0, FileFinder.path_hook(extensions, (Doubling, [".py"])))
        sys.path_importer_cache.clear()
        importlib.invalidate_caches()
        import shop.b
        result += [shop.b.x, type(shop.b.__loader__).__name__]
        del sys.modules["shop.a"]
        import shop.a
        result += [shop.a.x]
        """,
    ) == [1, 2, "Doubling", 2]


def test_a_finder_for_other_files(program: Program) -> None:
    assert program(
        {"shop/__init__.py": "", "shop/prices.txt": "tea = 3", "shop/prices.py": "tea = 4"},
        """
        import importlib, shop, sys
        sys.dont_write_bytecode = True
        from importlib.machinery import FileFinder, SourceFileLoader
        from importlib.util import module_from_spec
        finder = FileFinder(shop.__path__[0], (SourceFileLoader, [".txt"]))
        spec = finder.find_spec("shop.prices")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        from shop import prices
        result = [module.tea, prices.tea]
        """,
    ) == [3, 4]


def test_a_path_hook(program: Program) -> None:
    assert program(
        {},
        """
        import sys
        from importlib.machinery import ModuleSpec
        class Memory:
            def __init__(self, path):
                if not path.startswith("memory:"):
                    raise ImportError(path)
            def find_spec(self, fullname, target=None):
                if fullname == "made":
                    return ModuleSpec(fullname, self)
            def create_module(self, spec): pass
            def exec_module(self, module): module.x = 5
        sys.path_hooks.append(Memory)
        sys.path.append("memory:")
        import made
        result = [made.x, "memory:" in sys.path_importer_cache]
        """,
    ) == [5, True]


def test_path_is_what_sys_path_says(program: Program) -> None:
    assert program(
        {"one/a.py": "x = 1", "two/a.py": "x = 2"},
        """
        import importlib, os, sys
        here = os.path.dirname(os.path.abspath(__file__))
        sys.path.append(os.path.join(here, "two"))
        import a
        result = [a.x]
        sys.path.insert(0, os.path.join(here, "one"))
        del sys.modules["a"]
        import a
        result.append(a.x)
        sys.path[:] = [entry for entry in sys.path if entry != os.path.join(here, "one")]
        del sys.modules["a"]
        import a
        result.append(a.x)
        """,
    ) == [2, 1, 2]


def test_a_package_that_extends_its_path(program: Program) -> None:
    assert program(
        {
            "shop/__init__.py": "import os\n__path__.append(os.path.join(__path__[0], 'deep'))",
            "shop/deep/a.py": "x = 1",
        },
        "from shop import a\nresult = [a.x, a.__name__]",
    ) == [1, "shop.a"]


def test_a_module_with_a_path_is_a_package(program: Program) -> None:
    """A module made by hand (``six.moves`` and its kind)."""
    assert program(
        {"real.py": "x = 1"},
        """
        import sys, types
        moves = types.ModuleType("moves")
        moves.__path__ = []
        import real
        moves.thing = sys.modules["moves.thing"] = real
        sys.modules["moves"] = moves
        import moves.thing
        from moves.thing import x
        from moves import thing
        result = [x, thing is real, moves.thing is real]
        """,
    ) == [1, True, True]
