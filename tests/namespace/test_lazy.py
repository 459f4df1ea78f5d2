"""Imports that run late: in functions, in threads, by ``__getattr__`` (PEP 562)."""

from __future__ import annotations

from .worlds import Program


def test_in_a_function(program: Program) -> None:
    assert program(
        {"late.py": "value = 5", "a.py": "def view():\n    import late\n    return late.value"},
        "import a, sys\nresult = ['late' in sys.modules, a.view(), 'late' in sys.modules]",
    ) == [False, 5, True]


def test_in_a_thread(program: Program) -> None:
    assert program(
        {"late.py": "value = 5"},
        """
        import threading
        result = []
        def work():
            import late
            result.append(late.value)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """,
    ) == [5]


def test_in_a_thread_that_only_runs_shared_code(program: Program) -> None:
    assert (
        program(
            {"late.py": "value = 5"},
            """
        import importlib, threading
        thread = threading.Thread(target=importlib.import_module, args=("late",))
        thread.start()
        thread.join()
        import sys
        result = sys.modules["late"].value
        """,
        )
        == 5
    )


def test_in_methods_called_by_shared_code(program: Program) -> None:
    assert program(
        {"late.py": "value = 5"},
        """
        import functools, json
        class Encoder(json.JSONEncoder):
            def default(self, o):
                from late import value
                return value
        @functools.lru_cache
        def key(n):
            from late import value
            return value * n
        result = [json.dumps(object(), cls=Encoder), sorted([1, -1], key=key)]
        """,
    ) == ["5", [-1, 1]]


def test_in_compiled_code(program: Program) -> None:
    """Code without globals of its own inherits the builtins of whoever runs it."""
    assert program(
        {"late.py": "value = 5"},
        """
        variables = {}
        exec("from late import value", variables)
        result = [variables["value"], eval("__import__('late').value", {})]
        """,
    ) == [5, 5]


def test_in_a_generator_and_a_destructor(program: Program) -> None:
    assert program(
        {"late.py": "value = 5"},
        """
        result = []
        def numbers():
            yield 1
            from late import value
            yield value
        class Thing:
            def __del__(self):
                import late
                result.append(late.value)
        result += list(numbers())
        thing = Thing()
        del thing
        """,
    ) == [1, 5, 5]


def test_module_getattr(program: Program) -> None:
    assert program(
        {
            "shop/__init__.py": """
                calls = []
                def __getattr__(name):
                    if name.startswith("__"):
                        raise AttributeError(name)
                    calls.append(name)
                    if name == "models":
                        from importlib import import_module
                        return import_module("shop.models")
                    if name == "old":
                        return "old value"
                    raise AttributeError(f"no {name}")
                """,
            "shop/models.py": "tea = 1",
            "plain.py": """
                calls = []
                def __getattr__(name):
                    if name.startswith("__"):
                        raise AttributeError(name)
                    calls.append(name)
                    return name.upper()
                """,
        },
        """
        import shop, plain
        result = [shop.models.tea]
        from shop import old
        from plain import thing
        result += [old, thing, shop.calls, plain.calls]
        try:
            from shop import gone
        except ImportError as exc:
            result.append(str(exc).partition(" (")[0])
        """,
    ) == [
        1,
        "old value",
        "THING",
        ["models", "old", "old", "gone", "gone"],
        ["thing"],
        "cannot import name 'gone' from 'shop'",
    ]


def test_module_getattr_warns_once(program: Program) -> None:
    assert program(
        {
            "plain.py": """
                import warnings
                def __getattr__(name):
                    if name.startswith("__"):
                        raise AttributeError(name)
                    warnings.warn(f"{name} is old", DeprecationWarning, stacklevel=2)
                    return 1
                """
        },
        """
        import os, warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            from plain import thing
        result = [[str(w.message), os.path.basename(w.filename), w.lineno] for w in caught]
        """,
    ) == [["thing is old", "main.py", 4]]


def test_module_getattr_that_fails(program: Program) -> None:
    assert (
        program(
            {
                "plain.py": """
                def __getattr__(name):
                    kind = AttributeError if name.startswith("__") else ImportError
                    raise kind(f"no {name} here")
                """
            },
            """
        try:
            from plain import thing
        except ImportError as exc:
            result = str(exc)
        """,
        )
        == "no thing here"
    )
