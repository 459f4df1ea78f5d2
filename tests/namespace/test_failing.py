"""A failing import leaves nothing half-made behind."""

from __future__ import annotations

from .worlds import Program

ATTEMPT = """
import sys
def attempt(statement):
    try:
        exec(statement, {})
    except BaseException as exc:
        return f"{type(exc).__name__}: {exc}"
def present(*names):
    return [name for name in names if name in sys.modules]
"""


def test_nothing_stays(program: Program) -> None:
    assert program(
        {"shop/__init__.py": "", "shop/a.py": "x = 1\nraise ValueError('no')"},
        ATTEMPT
        + """
result = [attempt("import shop.a"), present("shop", "shop.a"), hasattr(sys.modules["shop"], "a")]
result += [attempt("from shop import a"), attempt("from shop.a import x")]
""",
    ) == ["ValueError: no", ["shop"], False, "ValueError: no", "ValueError: no"]


def test_what_it_imported_stays(program: Program) -> None:
    assert program(
        {"a.py": "import b\nimport c\nraise ValueError", "b.py": "", "c.py": "import gone"},
        ATTEMPT + "result = [attempt('import a'), present('a', 'b', 'c')]",
    ) == ["ModuleNotFoundError: No module named 'gone'", ["b"]]


def test_a_package_that_fails_after_its_submodules(program: Program) -> None:
    assert program(
        {"shop/__init__.py": "from . import a\nraise ValueError", "shop/a.py": ""},
        ATTEMPT
        + """
result = [attempt("import shop"), present("shop", "shop.a")]
result += [attempt("import shop.a"), present("shop", "shop.a")]
""",
    ) == ["ValueError: ", ["shop.a"], "ValueError: ", ["shop.a"]]


def test_a_cycle_that_fails(program: Program) -> None:
    """Who came through in the cycle stays, with what it bound of the one that failed."""
    assert program(
        {
            "shop/__init__.py": "",
            "shop/a.py": "from shop import b\nx = 1\nraise ValueError",
            "shop/b.py": "from shop import a\nfrom . import a as again",
        },
        ATTEMPT
        + """
result = [attempt("import shop.a"), present("shop.a", "shop.b"), hasattr(sys.modules["shop"], "a")]
b = sys.modules["shop.b"]
result += [b.a.x, attempt("from shop import a"), hasattr(sys.modules["shop"], "a")]
""",
    ) == ["ValueError: ", ["shop.b"], False, 1, "ValueError: ", False]


def test_a_cycle_that_fails_deeper(program: Program) -> None:
    assert program(
        {
            "shop/__init__.py": "",
            "shop/a.py": "import shop.b as b",
            "shop/b.py": "import shop.a as a\nimport shop.c as c",
            "shop/c.py": "import shop.b as b\nraise ValueError",
        },
        ATTEMPT
        + """
result = [attempt("import shop.a"), present("shop.a", "shop.b", "shop.c")]
result.append(sorted(set(vars(sys.modules["shop"])) & {"a", "b", "c"}))
""",
    ) == ["ValueError: ", [], []]


def test_a_second_attempt_may_succeed(program: Program) -> None:
    assert program(
        {
            "a.py": "import flag\nif not flag.good: raise RuntimeError('not yet')\nx = 1",
            "flag.py": "good = False",
        },
        ATTEMPT
        + """
import flag
result = [attempt("import a")]
flag.good = True
import a
result.append(a.x)
""",
    ) == ["RuntimeError: not yet", 1]


def test_an_import_that_is_given_up(program: Program) -> None:
    assert program(
        {"a.py": "import sys\nsys.exit(3)", "b.py": "raise KeyboardInterrupt"},
        ATTEMPT + "result = [attempt('import a'), attempt('import b'), present('a', 'b')]",
    ) == ["SystemExit: 3", "KeyboardInterrupt: ", []]


def test_a_replacement_that_fails(program: Program) -> None:
    assert program(
        {"a.py": "import sys\nsys.modules[__name__] = object()\nraise ValueError"},
        ATTEMPT + "result = [attempt('import a'), present('a')]",
    ) == ["ValueError: ", []]


def test_a_module_that_removes_itself(program: Program) -> None:
    assert program(
        {"a.py": "import sys\ndel sys.modules[__name__]", "shop/__init__.py": "", "shop/b.py": ""},
        ATTEMPT + "result = [attempt('import a'), attempt('import shop.gone')]",
    ) == ["KeyError: 'a'", "ModuleNotFoundError: No module named 'shop.gone'"]


def test_what_is_no_package(program: Program) -> None:
    assert program(
        {"a.py": "", "shop/__init__.py": "raise_ = 1"},
        ATTEMPT
        + """
result = [attempt(f"import {name}") for name in ("a.b", "shop.raise_", "json.decoder.x", "os.x")]
result.append(attempt("from a import b").partition(" (")[0])
""",
    ) == [
        "ModuleNotFoundError: No module named 'a.b'; 'a' is not a package",
        "ModuleNotFoundError: No module named 'shop.raise_'",
        "ModuleNotFoundError: No module named 'json.decoder.x'; 'json.decoder' is not a package",
        "ModuleNotFoundError: No module named 'os.x'; 'os' is not a package",
        "ImportError: cannot import name 'b' from 'a'",
    ]


def test_bad_names(program: Program) -> None:
    assert program(
        {},
        """
        import importlib, warnings
        warnings.simplefilter("ignore", ImportWarning)
        result = []
        for call in (
            lambda: __import__(""), lambda: __import__(3), lambda: __import__("a", level=-1),
            lambda: __import__("a..b"), lambda: __import__("."),
            lambda: importlib.import_module(""),
            lambda: __import__("a", {}, level=1), lambda: __import__("os", None, None, [3]),
            lambda: __import__("json", {}, {}, [3]),
        ):
            try:
                call()
                result.append("fine")
            except Exception as exc:
                result.append(type(exc).__name__)
        """,
    ) == [
        "ValueError",
        "TypeError",
        "ValueError",
        "ModuleNotFoundError",
        "ModuleNotFoundError",
        "ValueError",
        "KeyError",
        "fine",
        "TypeError",
    ]
