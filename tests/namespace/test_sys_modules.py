"""What programs do with ``sys.modules``."""

from __future__ import annotations

from .worlds import Program


def test_a_module_that_replaces_itself(program: Program) -> None:
    """Also by something that is no module at all."""
    assert program(
        {
            "lazy.py": """
                import sys
                class Lazy:
                    def __init__(self): self.calls = 0
                    @property
                    def value(self):
                        self.calls += 1
                        return self.calls
                    def __repr__(self): return "lazy thing"
                sys.modules[__name__] = Lazy()
                """,
            "shop/__init__.py": "",
            "shop/settings.py": "import sys, lazy\nsys.modules[__name__] = lazy",
        },
        """
        import lazy
        from lazy import value
        from shop import settings
        import shop.settings
        import sys
        result = [value, lazy.value, settings is lazy, shop.settings is lazy]
        result += [repr(lazy), sys.modules["lazy"] is lazy]
        for statement in ("from lazy import gone", "import lazy.sub"):
            try:
                exec(statement)
            except ImportError as exc:
                result.append(f"{type(exc).__name__}: {exc}")
        """,
    ) == [
        1,
        2,
        True,
        True,
        "lazy thing",
        True,
        "ImportError: cannot import name 'gone' from '<unknown module name>' (unknown location)",
        "ModuleNotFoundError: No module named 'lazy.sub'; 'lazy' is not a package",
    ]


def test_a_module_with_another_class(program: Program) -> None:
    assert program(
        {
            "config.py": """
                import sys, types
                class Config(types.ModuleType):
                    @property
                    def debug(self): return "computed"
                    def __call__(self): return "called"
                sys.modules[__name__].__class__ = Config
                """
        },
        """
        import config, sys
        from config import debug
        result = [config.debug, debug, config(), type(config).__name__]
        result.append(config is sys.modules["config"])
        """,
    ) == ["computed", "computed", "called", "Config", True]


def test_none_forbids(program: Program) -> None:
    assert program(
        {"a.py": "x = 1", "shop/__init__.py": "", "shop/b.py": ""},
        """
        import sys
        sys.modules["a"] = sys.modules["shop.b"] = sys.modules["csv"] = None
        result = []
        for statement in ("import a", "from a import x", "import shop.b", "import csv",
                          "from shop import b"):
            try:
                exec(statement)
            except ImportError as exc:
                result.append([type(exc).__name__, exc.name, str(exc).partition(" (")[0]])
        del sys.modules["a"], sys.modules["csv"]
        import a, csv
        result.append([a.x, csv.__name__])
        """,
    ) == [
        ["ModuleNotFoundError", "a", "import of a halted; None in sys.modules"],
        ["ModuleNotFoundError", "a", "import of a halted; None in sys.modules"],
        ["ModuleNotFoundError", "shop.b", "import of shop.b halted; None in sys.modules"],
        ["ModuleNotFoundError", "csv", "import of csv halted; None in sys.modules"],
        ["ModuleNotFoundError", "shop.b", "import of shop.b halted; None in sys.modules"],
        [1, "csv"],
    ]


def test_deletion_and_a_new_import(program: Program) -> None:
    assert program(
        {"shop/__init__.py": "", "shop/a.py": "class Thing: pass"},
        """
        import sys
        import shop.a
        old, parent = shop.a.Thing, shop
        del sys.modules["shop.a"]
        import shop.a
        result = [shop.a.Thing is old, shop is parent]
        for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
            del sys.modules[name]
        import shop.a
        result += [shop is parent, "a" in vars(parent)]
        """,
    ) == [False, True, False, True]


def test_deletion_of_the_standard_library(program: Program) -> None:
    """What comes back is a fresh copy, in a namespace a private one."""
    assert program(
        {},
        """
        import sys, queue
        old = queue
        del sys.modules["queue"]
        import queue
        result = [queue is old, queue.Queue is old.Queue]
        sys.modules["queue"] = old
        import queue
        result += [queue is old]
        """,
    ) == [False, False, True]


def test_the_trick_of_defusedxml(program: Program) -> None:
    """Remove ``xml.etree``, forbid its accelerator, and get the pure Python version."""
    assert program(
        {
            "pure.py": """
                import sys, importlib
                def get():
                    import xml.etree.ElementTree as fast
                    names = ("_elementtree", "xml.etree.ElementTree")
                    saved = {name: sys.modules.pop(name, None) for name in names}
                    sys.modules["_elementtree"] = None
                    pure = importlib.import_module("xml.etree.ElementTree")
                    for name, module in saved.items():
                        if module is None:
                            sys.modules.pop(name, None)
                        else:
                            sys.modules[name] = module
                    import xml.etree
                    xml.etree.ElementTree = fast
                    return fast, pure
                """
        },
        """
        import pure
        fast, slow = pure.get()
        import xml.etree.ElementTree as now
        result = [
            fast.XMLParser.__module__, slow.XMLParser.__module__, now is fast, slow is fast,
            slow.fromstring("<a><b/></a>")[0].tag, fast.fromstring("<a><b/></a>")[0].tag,
            type(slow.Element("a")).__module__, slow.ParseError is fast.ParseError,
        ]
        """,
    ) == [
        "xml.etree.ElementTree",
        "xml.etree.ElementTree",
        True,
        False,
        "b",
        "b",
        "xml.etree.ElementTree",
        False,
    ]


def test_a_child_that_only_the_namespace_has(program: Program) -> None:
    """A module put below a package of the standard library stays with the program."""
    assert program(
        {},
        """
        import sys, types, xml.dom
        sys.modules["xml.dom.mine"] = types.ModuleType("xml.dom.mine")
        sys.modules["xml.dom.mine"].x = 1
        from xml.dom import mine
        from xml.dom.mine import x
        result = [mine.x, x]
        """,
    ) == [1, 1]


def test_patch_dict(program: Program) -> None:
    assert program(
        {"a.py": "x = 1"},
        """
        import json, sys
        from unittest.mock import patch
        before = dict(sys.modules)
        fake = type(sys)("fake")
        with patch.dict(sys.modules, {"fake": fake, "json": fake, "a": None}):
            import fake as found, json as other
            result = [found is fake, other is fake]
            try:
                import a
            except ImportError:
                result.append("forbidden")
        import a, json as again
        result += [again is json, a.x, "fake" in sys.modules]
        result.append([name for name in before if sys.modules.get(name) is not before[name]])
        """,
    ) == [True, True, "forbidden", True, 1, False, []]


def test_the_methods_of_a_dictionary(program: Program) -> None:
    assert program(
        {},
        """
        import pickle, sys, types
        def make(name):
            module = types.ModuleType(name)
            exec("class Thing: pass", vars(module))
            return module
        one, two, three, four = map(make, ("one", "two", "three", "four"))
        sys.modules.update(one=one)
        sys.modules.update({"two": two})
        sys.modules.setdefault("three", three)
        sys.modules |= {"four": four}
        import one as a, two as b, three as c, four as d
        result = [a is one, b is two, c is three, d is four, isinstance(sys.modules, dict)]
        for module in (one, two, three, four):
            blob = pickle.dumps(module.Thing)
            result.append(pickle.loads(blob) is module.Thing)
        result += [sys.modules.pop("one") is one, sys.modules.get("one"), "two" in sys.modules]
        """,
    ) == [True] * 5 + [True] * 4 + [True, None, True]


def test_a_walk(program: Program) -> None:
    """Some walk over all modules, and read whatever they like of them."""
    assert program(
        {"a.py": "x = 1"},
        """
        import a, inspect, os, sys
        found = []
        for name, module in list(sys.modules.items()):
            if getattr(module, "x", None) == 1:
                found.append(name)
            getattr(module, "__file__", None), getattr(module, "__spec__", None)
        result = [found, inspect.getmodule(a.__loader__.get_code) is not None]
        """,
    ) == [["a"], True]


def test_what_c_code_adds_to_a_module_that_it_imports(program: Program) -> None:
    """pandas: one extension module puts a capsule on the package, the others import it."""
    assert program(
        {"shop.py": ""},
        """
        import ctypes
        import shop
        api = ctypes.pythonapi
        api.PyImport_ImportModule.restype = ctypes.py_object
        api.PyModule_AddObjectRef.argtypes = [ctypes.py_object, ctypes.c_char_p, ctypes.py_object]
        api.PyModule_AddObjectRef(api.PyImport_ImportModule(b"shop"), b"made_in_c", 3)
        result = [api.PyImport_ImportModule(b"shop").made_in_c, shop.made_in_c]
        """,
    ) == [3, 3]
