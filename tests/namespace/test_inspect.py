"""``inspect``: which module an object is of, and how it is called."""

from __future__ import annotations

from .worlds import Program

FILES = {
    "shop/__init__.py": "",
    "shop/models.py": "import inspect\nclass Thing:\n    def f(self, a: 'Thing', *, b=1): ...\n"
    "def here(): return inspect.currentframe()\n"
    "def caller(): return inspect.stack()[1].function, inspect.getmodule(inspect.stack()[0].frame)",
}


def test_signature(program: Program) -> None:
    assert program(
        FILES,
        """
        import inspect
        from shop.models import Thing
        plain = inspect.signature(Thing.f)
        full = inspect.signature(Thing.f, eval_str=True)
        result = [str(plain), full.parameters["a"].annotation is Thing]
        result.append(inspect.get_annotations(Thing.f, eval_str=True)["a"] is Thing)
        """,
    ) == ["(self, a: 'Thing', *, b=1)", True, True]


def test_members_and_kinds(program: Program) -> None:
    assert program(
        FILES,
        """
        import inspect
        from shop import models
        members = inspect.getmembers(models, inspect.isclass)
        result = [[name for name, _ in members], inspect.ismodule(models)]
        result += [inspect.getmodulename(models.__file__), inspect.isfunction(models.here)]
        """,
    ) == [["Thing"], True, "models", True]


def test_getmodule(program: Program) -> None:
    assert program(
        FILES,
        """
        import inspect, json
        from shop import models
        found = [inspect.getmodule(thing) for thing in (models.Thing, models.here, json.dumps)]
        result = [module.__name__ for module in found]
        result += [inspect.getmodule(models.here()).__name__, inspect.getmodule(3)]
        function, module = models.caller()
        result += [function, module.__name__, module.Thing is models.Thing]
        result.append(vars(module) is vars(models))
        """,
    ) == [
        "shop.models",
        "shop.models",
        "json",
        "shop.models",
        None,
        "<module>",
        "shop.models",
        True,
        True,
    ]


def test_the_identity_of_a_module(program: Program) -> None:
    assert program(
        FILES,
        """
        import inspect, logging, os, sys
        from shop import models
        names = [(models.Thing, "shop.models"), (logging.Handler, "logging"), (os.getenv, "os")]
        result = [inspect.getmodule(thing) is sys.modules[name] for thing, name in names]
        def own(): pass
        result.append(inspect.getmodule(own) is sys.modules["__main__"])
        """,
    ) == [True, True, True, True]


def test_the_stack(program: Program) -> None:
    """The frames of a program, the nearest first, up to its script."""
    assert program(
        {"a.py": "import inspect\nframes = inspect.stack()\ndef f(): return inspect.stack()"},
        """
        import a, os
        def names(frames):
            shown = [f for f in frames if "importlib" not in f.filename]
            found = [f"{os.path.basename(f.filename)}:{f.function}" for f in shown]
            return found[: found.index("main.py:<module>") + 1]
        result = [names(a.frames), names(a.f())]
        """,
    ) == [["a.py:<module>", "main.py:<module>"], ["a.py:f", "main.py:<module>"]]


def test_the_module_of_a_caller(program: Program) -> None:
    """Libraries look at ``sys._getframe`` to find who calls them."""
    assert program(
        {
            "lib.py": "import sys\ndef who(): return sys._getframe(1).f_globals['__name__']\n"
            "def package(): return sys._getframe(1).f_globals.get('__package__')",
            "shop/__init__.py": "import lib\nwho, package = lib.who(), lib.package()",
        },
        "import lib, shop\nresult = [lib.who(), shop.who, shop.package]",
    ) == ["__main__", "shop", "shop"]
