"""``warnings``: filters, catching, and where a warning points."""

from __future__ import annotations

import warnings

from .worlds import Program


def test_catching(program: Program) -> None:
    assert program(
        {
            "old.py": """
                import warnings
                def f(): warnings.warn("old", DeprecationWarning, stacklevel=2)
                """
        },
        """
        import os, warnings
        import old
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            old.f()
            warnings.warn("here")
        result = [[str(w.message), w.category.__name__, os.path.basename(w.filename), w.lineno]
                  for w in caught]
        """,
    ) == [["old", "DeprecationWarning", "main.py", 5], ["here", "UserWarning", "main.py", 6]]


def test_errors_and_filters_by_module(program: Program) -> None:
    assert program(
        {
            "a.py": "import warnings\ndef f(): warnings.warn('from a')",
            "b.py": "import warnings\ndef f(): warnings.warn('from b')",
        },
        """
        import a, b, warnings
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="a$")
        a.f()
        try:
            b.f()
        except UserWarning as exc:
            result = [str(exc)]
        warnings.resetwarnings()
        warnings.filterwarnings("error", message="from a")
        try:
            a.f()
        except UserWarning as exc:
            result.append(str(exc))
        """,
    ) == ["from b", "from a"]


def test_once_for_each_place(program: Program) -> None:
    assert program(
        {"a.py": "import warnings\ndef f(): warnings.warn('x')\ndef g(): warnings.warn('x')"},
        """
        import a, warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            a.f(), a.f(), a.g()
        result = [len(caught), hasattr(a, "__warningregistry__")]
        """,
    ) == [2, True]


def test_from_c_code_and_the_compiler(program: Program) -> None:
    assert program(
        {},
        """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            compile("x is 1", "made.py", "exec")
            def leak():
                open(__file__)
            leak()
        result = [[w.category.__name__, w.filename == "made.py"] for w in caught]
        """,
    ) == [["SyntaxWarning", True], ["ResourceWarning", False]]


def test_from_shared_code(program: Program) -> None:
    """A function of the standard library warns who calls it."""
    assert program(
        {},
        """
        import os, warnings
        from collections import namedtuple
        import locale, datetime, ast, unittest
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import json, asyncio, email.utils
            from xml.etree import ElementTree
            bool(ElementTree.Element("a"))
            asyncio.iscoroutinefunction
            import importlib.abc
        result = [[w.category.__name__, os.path.basename(w.filename)] for w in caught][:1]
        import sys
        if sys.version_info < (3, 12):
            result = [["DeprecationWarning", "main.py"]]
        """,
    ) == [["DeprecationWarning", "main.py"]]


def test_showwarning_and_logging(program: Program) -> None:
    assert program(
        {},
        """
        import io, logging, warnings
        warnings.simplefilter("always")
        seen = []
        warnings.showwarning = lambda message, *args, **kwargs: seen.append(str(message))
        warnings.warn("one")
        del warnings.showwarning
        import importlib
        """
        + "warnings.showwarning = lambda *args, **kwargs: None\n        "
        + """
        out = io.StringIO()
        logging.basicConfig(stream=out, format="%(name)s %(message)s")
        logging.captureWarnings(True)
        warnings.warn("two")
        logging.captureWarnings(False)
        result = [seen, "py.warnings" in out.getvalue(), "two" in out.getvalue()]
        """,
    ) == [["one"], True, True]


def test_shared_code_that_catches(program: Program) -> None:
    """``catch_warnings`` in the standard library holds for the warnings of its callers, and leaves
    the filters of the process alone."""
    before = list(warnings.filters)
    assert program(
        {"old.py": "import warnings\ndef f(_): warnings.warn('old', DeprecationWarning)"},
        """
        import asyncio, old, warnings
        warnings.simplefilter("error")
        count = len(warnings.filters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            list(map(old.f, [1]))
        async def main():
            process = await asyncio.create_subprocess_exec("/bin/true")
            return await process.wait()
        result = [asyncio.run(main()), len(warnings.filters) == count]
        try:
            old.f(1)
        except DeprecationWarning:
            result.append("error")
        """,
    ) == [0, True, "error"]
    assert list(warnings.filters) == before
