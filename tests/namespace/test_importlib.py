"""``importlib``: ``import_module``, ``reload``, ``find_spec``, ``LazyLoader`` and its kind."""

from __future__ import annotations

from .worlds import Program


def test_import_module(program: Program) -> None:
    assert program(
        {"shop/__init__.py": "", "shop/a.py": "x = 1"},
        """
        from importlib import import_module
        result = [import_module("shop.a").x, import_module(".a", "shop").x]
        result.append(import_module("shop").a is import_module("shop.a"))
        for name, package in ((".a", None), ("..a", "shop")):
            try:
                import_module(name, package)
            except (TypeError, ImportError) as exc:
                result.append(type(exc).__name__)
        """,
    ) == [1, 1, True, "TypeError", "ImportError"]


def test_dunder_import(program: Program) -> None:
    assert program(
        {"shop/__init__.py": "", "shop/a.py": "x = 1"},
        """
        import builtins, importlib
        here = {"__package__": "shop", "__name__": "shop.b"}
        result = [
            __import__("shop.a").__name__,
            __import__("shop.a", fromlist=["x"]).__name__,
            __import__("shop.a", None, None, ()).__name__,
            __import__("a", here, None, ["x"], 1).x,
            __import__("", here, {}, ("a",), level=1).__name__,
            importlib.__import__("shop.a").__name__,
            builtins.__import__ is __import__,
        ]
        """,
    ) == ["shop", "shop.a", "shop", 1, "shop", "shop", True]


def test_a_replaced_dunder_import(program: Program) -> None:
    """Lazy-import libraries replace ``builtins.__import__`` for a while."""
    assert program(
        {"a.py": "import b", "b.py": "import c", "c.py": ""},
        """
        import builtins
        seen, original = [], builtins.__import__
        def noting(name, *args, **kwargs):
            seen.append(name)
            return original(name, *args, **kwargs)
        builtins.__import__ = noting
        try:
            import a
        finally:
            builtins.__import__ = original
        import os
        result = [name for name in seen if len(name) == 1]
        """,
    ) == ["a", "b", "c"]


def test_reload(program: Program) -> None:
    assert program(
        {"a.py": "import sys\nruns = globals().get('runs', 0) + 1\nif runs == 1: once = True"},
        """
        import a, importlib, sys
        before = a
        again = importlib.reload(a)
        result = [again is before is sys.modules["a"], a.runs, a.once]
        """,
    ) == [True, 2, True]


def test_reload_sees_what_changed(program: Program) -> None:
    assert program(
        {"a.py": "x = 1"},
        """
        import a, importlib, pathlib
        values = [a.x]
        for value in (20, 300, 4000):
            pathlib.Path(a.__file__).write_text(f"x = {value}")
            values.append(importlib.reload(a).x)
        result = values
        """,
    ) == [1, 20, 300, 4000]


def test_reload_of_a_submodule_and_a_package(program: Program) -> None:
    assert program(
        {
            "shop/__init__.py": "from . import a\nruns = globals().get('runs', 0) + 1",
            "shop/a.py": "",
        },
        """
        import importlib, shop, shop.a
        a = shop.a
        result = [importlib.reload(shop).runs, importlib.reload(shop.a) is a is shop.a]
        """,
    ) == [2, True]


def test_reload_that_fails(program: Program) -> None:
    assert program(
        {"a.py": "x = 1"},
        """
        import a, importlib, pathlib, sys
        result = []
        pathlib.Path(a.__file__).write_text("y = 1\\nraise ValueError(3)")
        try:
            importlib.reload(a)
        except ValueError:
            result.append([sys.modules["a"] is a, a.x, a.y])
        pathlib.Path(a.__file__).unlink()
        importlib.invalidate_caches()
        try:
            importlib.reload(a)
        except ModuleNotFoundError as exc:
            result.append(str(exc))
        del sys.modules["a"]
        try:
            importlib.reload(a)
        except ImportError as exc:
            result.append(str(exc))
        """,
    ) == [[True, 1, 1], "spec not found for the module 'a'", "module a not in sys.modules"]


def test_reload_of_the_standard_library(program: Program) -> None:
    """A shared module is everybody's: nobody may run it again, so it is returned as it is."""
    assert program(
        {},
        """
        import importlib, json, logging, sys
        decoder, loader, handler = json.JSONDecoder, json.__spec__.loader, logging.Handler
        again = importlib.reload(json)
        private = importlib.reload(logging)
        result = [
            again is json is sys.modules["json"],
            json.JSONDecoder is decoder,
            json.__spec__.loader is loader,
            private.Handler is handler,
        ]
        """,
    ) == program.either(plain=[True, True, False, False], namespace=[True, True, True, False])


def test_find_spec(program: Program) -> None:
    assert program(
        {"shop/__init__.py": "", "shop/a.py": "raise SystemError('was imported')"},
        """
        import os, sys
        from importlib.util import find_spec
        here = os.path.dirname(os.path.abspath(__file__))
        spec = find_spec("shop.a")
        result = [spec.name, os.path.relpath(spec.origin, here), spec.parent, "shop" in sys.modules]
        result += ["shop.a" in sys.modules, find_spec("gone"), find_spec(".a", "shop").name]
        result += [find_spec("shop") is sys.modules["shop"].__spec__]
        for name in ("gone.a", "shop.a.b", "__main__"):
            try:
                result.append(find_spec(name))
            except (ImportError, ValueError, SystemError) as exc:
                result.append(f"{type(exc).__name__}: {exc}")
        """,
    ) == [
        "shop.a",
        "shop/a.py",
        "shop",
        True,
        False,
        None,
        "shop.a",
        True,
        "ModuleNotFoundError: No module named 'gone'",
        "SystemError: was imported",
        "ValueError: __main__.__spec__ is None",
    ]


def test_find_spec_of_the_standard_library(program: Program) -> None:
    assert program(
        {},
        """
        import sys
        from importlib.util import find_spec
        names = ("json", "xml.dom.minidom", "sys", "os", "os.path", "logging.config", "_thread")
        result = [find_spec(name) is not None for name in names]
        result.append("xml.dom.minidom" in sys.modules)
        """,
    ) == [True] * 7 + [False]


def test_module_from_spec(program: Program) -> None:
    """The recipe of the documentation for importing a file directly."""
    assert program(
        {
            "plugins/one.py": "import sys\nfrom late import value\nme = sys.modules[__name__]",
            "late.py": "value = 4",
        },
        """
        import importlib.util, os, sys
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plugins", "one.py")
        spec = importlib.util.spec_from_file_location("plugin_one", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules["plugin_one"] = module
        spec.loader.exec_module(module)
        import plugin_one
        result = [plugin_one is module is module.me, module.value, module.__file__ == path]
        """,
    ) == [True, 4, True]


def test_lazy_loader(program: Program) -> None:
    assert program(
        {"heavy.py": "import log\nlog.lines.append('ran')\nx = 1", "log.py": "lines = []"},
        """
        import importlib.util, log, sys
        spec = importlib.util.find_spec("heavy")
        loader = importlib.util.LazyLoader(spec.loader)
        spec.loader = loader
        module = importlib.util.module_from_spec(spec)
        sys.modules["heavy"] = module
        loader.exec_module(module)
        result = [list(log.lines), module.x, list(log.lines), type(module) is type(sys)]
        import heavy
        result.append(heavy is module)
        """,
    ) == [[], 1, ["ran"], True, True]


def test_load_module_of_old(program: Program) -> None:
    assert program(
        {"a.py": "x = 1"},
        """
        import importlib.util, warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.util.find_spec("a").loader.load_module()
        import a
        result = [a is module, a.x]
        """,
    ) == [True, 1]


def test_invalidate_caches(program: Program) -> None:
    assert program(
        {},
        """
        import importlib, pathlib
        result = []
        try:
            import made
        except ImportError:
            result.append("missing")
        pathlib.Path(__file__).with_name("made.py").write_text("x = 1")
        importlib.invalidate_caches()
        import made
        result.append(made.x)
        """,
    ) == ["missing", 1]


def test_machinery_is_one_with_the_import_system(program: Program) -> None:
    assert program(
        {"a.py": ""},
        """
        import a, importlib, importlib.abc, importlib.machinery as machinery, sys
        import _frozen_importlib, _frozen_importlib_external
        result = [
            isinstance(a.__spec__, machinery.ModuleSpec),
            type(a.__loader__) is machinery.SourceFileLoader,
            isinstance(a.__loader__, importlib.abc.SourceLoader),
            machinery.PathFinder in sys.meta_path,
            importlib._bootstrap is sys.modules["importlib._bootstrap"],
            importlib._bootstrap is _frozen_importlib,
            _frozen_importlib_external.PathFinder is machinery.PathFinder,
            [name for finder in sys.meta_path if (name := getattr(finder, "__name__", ""))],
        ]
        """,
    ) == [True] * 7 + [["BuiltinImporter", "FrozenImporter", "PathFinder"]]


def test_submodules_of_importlib(program: Program) -> None:
    assert program(
        {},
        """
        import importlib.abc, importlib.machinery, importlib.metadata, importlib.resources
        import importlib.util, importlib.resources.abc, sys
        result = all(
            sys.modules[f"importlib.{name}"] is getattr(importlib, name)
            for name in ("abc", "machinery", "metadata", "resources", "util", "_bootstrap")
        )
        """,
    )


def test_source_hash_and_cache_from_source(program: Program) -> None:
    assert program(
        {"a.py": "x = 1"},
        """
        import importlib.util, sys, a
        cached = importlib.util.cache_from_source(a.__file__)
        result = [cached == a.__cached__, importlib.util.source_from_cache(cached) == a.__file__]
        result.append(importlib.util.decode_source(b"# -*- coding: latin-1 -*-\\n'\\xe9'")[-2])
        result.append(len(importlib.util.source_hash(b"x")))
        """,
    ) == [True, True, "é", 8]


def test_parts_that_others_have_imported(program: Program) -> None:
    """Many count on it, without knowing."""
    assert program(
        {},
        """
        import inspect, py_compile, pkgutil
        import importlib
        result = [
            importlib.machinery.SOURCE_SUFFIXES, importlib.util.find_spec("gone"),
            importlib.machinery is __import__("sys").modules["importlib.machinery"],
        ]
        try:
            importlib.gone
        except AttributeError as exc:
            result.append(str(exc))
        """,
    ) == [[".py"], None, True, "module 'importlib' has no attribute 'gone'"]
