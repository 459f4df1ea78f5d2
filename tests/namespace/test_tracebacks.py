"""The frames that a traceback shows, and where the source of code is found."""

from __future__ import annotations

import pytest

from .worlds import Program

SHOW = """
import os, sys, traceback
def show(statement, depth=1):
    try:
        exec(statement, {})
    except BaseException as exc:
        frames = traceback.extract_tb(exc.__traceback__)[depth:]
        return [type(exc).__name__, *[
            f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames
        ]]
"""

FILES = {
    "good.py": "def fail():\n    raise ValueError\ndef late(name):\n    __import__(name)\n",
    "missing.py": "\nimport gone",
    "nested.py": "import missing",
    "broken.py": "x = (\n",
    "deep.py": "import good\n\ngood.fail()",
    "deeper.py": "from deep import x",
    "raises.py": "\n\nraise ImportError('mine')",
    "shop/__init__.py": "from . import models",
    "shop/models.py": "def f():\n    1 / 0\nf()",
    "late.py": "def view():\n    import nested\n",
    "name.py": "from good import gone",
}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import gone", ["ModuleNotFoundError", "<string>:1 <module>"]),
        ("import missing", ["ModuleNotFoundError", "<string>:1 <module>", "missing.py:2 <module>"]),
        (
            "import nested",
            [
                "ModuleNotFoundError",
                "<string>:1 <module>",
                "nested.py:1 <module>",
                "missing.py:2 <module>",
            ],
        ),
        ("import raises", ["ImportError", "<string>:1 <module>", "raises.py:3 <module>"]),
        ("import name", ["ImportError", "<string>:1 <module>", "name.py:1 <module>"]),
        (
            "import deeper",
            [
                "ValueError",
                "<string>:1 <module>",
                "deeper.py:1 <module>",
                "deep.py:3 <module>",
                "good.py:2 fail",
            ],
        ),
        (
            "import shop",
            [
                "ZeroDivisionError",
                "<string>:1 <module>",
                "__init__.py:1 <module>",
                "models.py:3 <module>",
                "models.py:2 f",
            ],
        ),
        (
            "import late; late.view()",
            [
                "ModuleNotFoundError",
                "<string>:1 <module>",
                "late.py:2 view",
                "nested.py:1 <module>",
                "missing.py:2 <module>",
            ],
        ),
        (
            "import good; good.late('nested')",
            [
                "ModuleNotFoundError",
                "<string>:1 <module>",
                "good.py:4 late",
                "nested.py:1 <module>",
                "missing.py:2 <module>",
            ],
        ),
        ("import good.x", ["ModuleNotFoundError", "<string>:1 <module>"]),
        ("from good import gone", ["ImportError", "<string>:1 <module>"]),
        ("from shop import models", None),
        ("import json.gone", ["ModuleNotFoundError", "<string>:1 <module>"]),
        ("from json import gone", ["ImportError", "<string>:1 <module>"]),
        ("import logging.gone", ["ModuleNotFoundError", "<string>:1 <module>"]),
    ],
)
def test_frames(program: Program, statement: str, expected: list[str] | None) -> None:
    found = program(FILES, f"{SHOW}\nresult = show({statement!r})")
    if expected is not None:
        assert found == expected
    else:
        assert found[0] == "ZeroDivisionError"


@pytest.mark.parametrize(
    "statement",
    [
        "import broken",
        "import importlib; importlib.import_module('gone')",
        "import importlib; importlib.import_module('nested')",
        "import importlib; importlib.import_module('deeper')",
        "import importlib; importlib.import_module('broken')",
        "import importlib; importlib.import_module('json.gone')",
        "import importlib.util; importlib.util.find_spec('gone.x')",
        "import importlib, good; del good.__spec__; good.__name__ = 'gone'; importlib.reload(good)",
        "import sys; sys.modules['good'] = None; import good",
        "__import__('gone', level=3)",
        "import null",
    ],
)
def test_frames_of_importlib_where_they_show(program: Program, statement: str) -> None:
    """Python shows its own frames in some cases: then there are the same, and as many.

    ``import_module`` is not the import statement, and nobody takes its frames away; a
    ``SyntaxError`` shows how the file was read.
    """
    main = f"{SHOW}\nresult = show({statement!r})"
    found = program({**FILES, "null.py": b"x = 1\0"}, main)
    expected = Program("plain", program.folder)({}, main)
    names = [frame.partition(" ")[2] for frame in found]
    assert names == [frame.partition(" ")[2] for frame in expected]


def test_syntax_error(program: Program) -> None:
    assert program(
        {"broken.py": "x = 1\nif x\n    pass\n"},
        """
        import os
        try:
            import broken
        except SyntaxError as exc:
            result = [exc.msg, os.path.basename(exc.filename), exc.lineno, exc.text]
        """,
    ) == ["expected ':'", "broken.py", 2, "if x\n"]


def test_exc_info_shows_the_same(program: Program) -> None:
    """django-oscar counts the frames of ``sys.exc_info()`` to tell missing from broken."""
    assert program(
        {"broken.py": "import gone"},
        """
        import sys, traceback
        def frames(name):
            try:
                __import__(name)
            except ImportError:
                return len(traceback.extract_tb(sys.exc_info()[2]))
        result = [frames("gone"), frames("broken")]
        """,
    ) == [1, 2]


def test_chained_errors(program: Program) -> None:
    assert program(
        FILES,
        """
        import os, traceback
        try:
            try:
                import gone
            except ImportError:
                import deep
        except ValueError as exc:
            tracebacks = [traceback.extract_tb(e.__traceback__) for e in (exc, exc.__context__)]
            result = [[f"{os.path.basename(f.filename)}:{f.name}" for f in tb] for tb in tracebacks]
        """,
    ) == [["main.py:<module>", "deep.py:<module>", "good.py:fail"], ["main.py:<module>"]]


def test_the_text_of_a_traceback(program: Program) -> None:
    assert program(
        {"a.py": "def f(x):\n    return x.gone\n"},
        """
        import a, traceback
        try:
            a.f(None)
        except AttributeError:
            text = traceback.format_exc()
        lines = [line.strip() for line in text.splitlines()]
        result = [line for line in lines if line and set(line) - set("~^ ")][-2:]
        """,
    ) == ["return x.gone", "AttributeError: 'NoneType' object has no attribute 'gone'"]


def test_source_of_code(program: Program) -> None:
    assert program(
        {
            "a.py": """\
                class Thing:
                    def method(self):
                        return 1

                def function():
                    return 2
                """
        },
        """
        import a, inspect, linecache, os
        result = [
            inspect.getsource(a.function),
            inspect.getsource(a.Thing).splitlines()[0],
            inspect.getsource(a.Thing.method).splitlines()[-1],
            os.path.basename(inspect.getsourcefile(a.Thing)),
            os.path.basename(inspect.getfile(a)),
            inspect.getsourcelines(a.function)[1],
            linecache.getline(a.__file__, 6),
            a.__loader__.get_source("a").splitlines()[0],
        ]
        """,
    ) == [
        "def function():\n    return 2\n",
        "class Thing:",
        "        return 1",
        "a.py",
        "a.py",
        5,
        "    return 2\n",
        "class Thing:",
    ]


def test_source_of_main(program: Program) -> None:
    assert program(
        {},
        """
        import inspect
        class Thing:
            x = 1
        def f():
            return 3
        result = [inspect.getsource(f), inspect.getsource(Thing)]
        """,
    ) == ["def f():\n    return 3\n", "class Thing:\n    x = 1\n"]


def test_where_a_warning_points(program: Program) -> None:
    """``stacklevel`` passes over the frames of importlib."""
    assert program(
        {
            "old.py": "import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=2)",
            "user.py": "\n\nimport old",
            "package/__init__.py": "\nfrom . import inner",
            "package/inner.py": "import warnings\nwarnings.warn('in', UserWarning, stacklevel=2)",
        },
        """
        import os, warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import user
            import package
        result = [[str(w.message), os.path.basename(w.filename), w.lineno] for w in caught]
        """,
    ) == [["old", "user.py", 3], ["in", "__init__.py", 2]]
