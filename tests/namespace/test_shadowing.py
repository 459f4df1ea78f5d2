"""Modules of a project that have the name of another: of the standard library, of the gateway."""

from __future__ import annotations

import pytest

from .worlds import Program


@pytest.mark.parametrize(
    "name",
    ["calendar", "queue", "token", "statistics", "platform", "locale", "sqlite3", "socket", "csv"],
)
def test_of_the_standard_library(program: Program, name: str) -> None:
    """A project's app wins over a module of the standard library, for its own code."""
    assert program(
        {
            f"{name}/__init__.py": "mine = __name__",
            f"{name}/models.py": f"from . import mine\nfrom {name} import mine as again",
        },
        f"""
        import {name}, {name}.models
        from {name} import models
        result = [{name}.mine, models.mine, models.again, models is {name}.models]
        """,
    ) == [name, name, name, True]


def test_the_standard_library_goes_on_with_its_own(program: Program) -> None:
    """In plain Python it takes the project's and breaks; in a namespace it does not."""
    assert program(
        {"calendar.py": "mine = True", "queue.py": "mine = True"},
        """
        import calendar, queue
        result = [calendar.mine, queue.mine]
        try:
            import concurrent.futures, datetime
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                result.append(pool.submit(int, "3").result())
            result.append(datetime.datetime.strptime("2026", "%Y").year)
        except (ImportError, AttributeError) as exc:
            result.append(type(exc).__name__)
        """,
    ) == program.either(plain=[True, True, "AttributeError"], namespace=[True, True, 3, 2026])


def test_pickle_finds_the_module_of_the_project(program: Program) -> None:
    assert program(
        {"calendar.py": "class Day: pass"},
        """
        import calendar, pickle
        day = pickle.loads(pickle.dumps(calendar.Day()))
        again = pickle._loads(pickle._dumps(day))
        result = [type(day) is calendar.Day, type(again) is calendar.Day]
        """,
    ) == [True, True]


@pytest.mark.parametrize("name", ["builtins", "sys", "time", "os", "abc", "io", "gc", "itertools"])
def test_of_what_is_loaded_before(program: Program, name: str) -> None:
    """The interpreter has these by the time a program runs, or has them built in."""
    assert (
        program(
            {f"{name}.py": "mine = True"},
            f"import {name}\nresult = hasattr({name}, 'mine')",
        )
        is False
    )


def test_files_of_that_name_that_are_no_modules(program: Program) -> None:
    assert program(
        {"queue.txt": "", "json.yaml": "", "calendar/x.html": "", "csv.csv": "", "email.d/x": ""},
        """
        import calendar, csv, email, json, queue, sys
        from concurrent.futures import thread
        result = [hasattr(calendar, "month_name"), thread.queue is queue, csv.reader(["a"]) is None]
        """,
    ) == [True, True, False]


@pytest.mark.parametrize(
    "name", ["gateway", "pydantic", "click", "anyio", "httpx", "starlette", "uvicorn", "idna"]
)
def test_of_a_package_of_the_gateway(program: Program, name: str) -> None:
    assert program(
        {
            f"{name}/__init__.py": "from . import inner\nclass Thing: pass",
            f"{name}/inner.py": f"import {name} as outer\nmine = True",
        },
        f"""
        import copy, pickle, {name}, {name}.inner, typing
        from dataclasses import dataclass
        thing = {name}.Thing()
        def f(x: "{name}.Thing"): pass
        result = [
            {name}.inner.mine, {name}.inner.outer is {name}, hasattr({name}, "__version__"),
            type(pickle.loads(pickle.dumps(thing))) is {name}.Thing,
            type(pickle._loads(pickle._dumps(thing))) is {name}.Thing,
            type(copy.deepcopy(thing)) is {name}.Thing,
            typing.get_type_hints(f) == {{"x": {name}.Thing}},
        ]
        """,
    ) == [True, True, False, True, True, True, True]


def test_a_module_like_one_below_the_gateway(program: Program) -> None:
    """Code whose name begins like our own is not ours."""
    assert program(
        {
            "gateway/__init__.py": "",
            "gateway/namespace/__init__.py": "",
            "gateway/namespace/callers.py": "import os\ndef home(): return os.environ['HOME']",
        },
        """
        from gateway.namespace import callers
        result = [callers.home(), callers.__name__]
        """,
    ) == ["/home/nobody", "gateway.namespace.callers"]


def test_an_installed_package_of_the_project(program: Program) -> None:
    """The project comes before what is installed."""
    assert program(
        {"packaging/__init__.py": "mine = 1"},
        """
        import packaging
        result = packaging.mine
        try:
            import packaging.version
        except ImportError as exc:
            result = [result, str(exc)]
        """,
    ) == [1, "No module named 'packaging.version'"]
