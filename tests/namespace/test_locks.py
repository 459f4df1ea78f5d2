"""Threads that import the same at the same time."""

from __future__ import annotations

from .worlds import Program

START = """
import threading
def together(*functions):
    errors, barrier = [], threading.Barrier(len(functions))
    def run(function):
        barrier.wait(20)
        try:
            function()
        except BaseException as exc:
            errors.append(f"{type(exc).__name__}: {exc}")
    threads = [threading.Thread(target=run, args=(f,), daemon=True) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads), "dead-lock"
    return errors
"""


def test_a_slow_module_runs_once(program: Program) -> None:
    """Who comes second waits for the whole of it."""
    assert program(
        {
            "slow.py": """
                import gate
                gate.runs.append(1)
                gate.entered.set()
                gate.others.wait(10)
                x = 1
                """,
            "gate.py": """
                import threading
                runs, entered, others = [], threading.Event(), threading.Event()
                """,
        },
        START
        + """
import gate, sys
def first():
    import slow
def other():
    gate.entered.wait(10)
    assert "slow" in sys.modules
    threading.Timer(0.05, gate.others.set).start()
    import slow
    slow.x
    from slow import x
def by_name():
    gate.entered.wait(10)
    import importlib
    importlib.import_module("slow").x
result = [together(first, *[other] * 8, *[by_name] * 4), gate.runs]
""",
    ) == [[], [1]]


def test_a_cycle_imported_crosswise(program: Program) -> None:
    """Each thread holds what the other waits for: one of them gets a module in the making."""
    assert program(
        {
            "a.py": "import gate\ngate.meet()\nimport b\nx = 1",
            "b.py": "import gate\ngate.meet()\nimport a\ny = 2",
            "gate.py": """
                import threading
                barrier = threading.Barrier(2)
                def meet():
                    try:
                        barrier.wait(10)
                    except threading.BrokenBarrierError:
                        pass
                """,
        },
        START
        + """
import gate
def one():
    import a
def two():
    import b
errors = together(one, two)
import a, b
result = [errors, a.b.y, b.a.x]
""",
    ) == [[], 2, 1]


def test_a_cycle_of_a_package_imported_crosswise(program: Program) -> None:
    assert program(
        {
            "shop/__init__.py": "",
            "shop/a.py": "import gate\ngate.meet()\nfrom shop import b\nfrom . import b as c",
            "shop/b.py": "import gate\ngate.meet()\nfrom shop import a\nimport shop.a as c",
            "gate.py": """
                import threading
                barrier = threading.Barrier(2)
                def meet():
                    try:
                        barrier.wait(10)
                    except threading.BrokenBarrierError:
                        pass
                """,
        },
        START
        + """
import gate, shop
def one():
    from shop import a
def two():
    from shop import b
errors = together(one, two)
import shop.a, shop.b
result = [errors, shop.a.b is shop.b, shop.b.a is shop.a]
""",
    ) == [[], True, True]


def test_a_failure_is_not_shared(program: Program) -> None:
    """Who waited for an import that fails tries it again."""
    assert program(
        {
            "bad.py": """
                import gate
                gate.runs.append(1)
                gate.entered.set()
                gate.others.wait(10)
                raise ValueError("no")
                """,
            "gate.py": """
                import threading
                runs, entered, others = [], threading.Event(), threading.Event()
                """,
        },
        START
        + """
import gate, importlib
def first():
    importlib.import_module("bad")
def second():
    gate.entered.wait(10)
    threading.Timer(0.05, gate.others.set).start()
    importlib.import_module("bad")
result = [together(first, second), len(gate.runs)]
""",
    ) == [["ValueError: no"] * 2, 2]


def test_different_modules_do_not_wait(program: Program) -> None:
    assert (
        program(
            {
                "a.py": "import gate\ngate.barrier.wait(10)",
                "b.py": "import gate\ngate.barrier.wait(10)",
                "c.py": "import gate\ngate.barrier.wait(10)",
                "gate.py": "import threading\nbarrier = threading.Barrier(3)",
            },
            START
            + """
import importlib
names = ("a", "b", "c")
result = together(*[lambda name=name: importlib.import_module(name) for name in names])
""",
        )
        == []
    )


def test_a_thread_that_a_module_waits_for(program: Program) -> None:
    """A module may start a thread that imports others, and wait for it."""
    assert program(
        {
            "a.py": """
                import threading
                found = []
                def work():
                    import b
                    found.append(b.x)
                thread = threading.Thread(target=work)
                thread.start()
                thread.join(10)
                """,
            "b.py": "x = 1",
        },
        "import a\nresult = a.found",
    ) == [1]


def test_many_threads_over_many_modules(program: Program) -> None:
    count = 40
    files = {"shop/__init__.py": ""}
    for n in range(count):
        one, other = (n * 7 + 3) % count, (n + 1) % count
        files[f"shop/m{n}.py"] = f"import shop.m{one} as one\nfrom . import m{other}"
    assert program(
        files,
        START
        + f"""
import importlib, random, sys
def work(seed):
    names = [f"shop.m{{n}}" for n in range({count})]
    random.Random(seed).shuffle(names)
    for name in names:
        exec(f"import {{name}}")
errors = together(*[lambda seed=seed: work(seed) for seed in range(8)])
# A module that comes into being between the look for it and the question for its lock can be taken
# for a dead-lock: seen, rarely, in both worlds.
errors = [error for error in errors if not error.startswith("_DeadlockError")]
if {program.world == "plain"}:
    # Python itself takes a module for missing that another thread is about to bind, rarely.
    errors = [error for error in errors if "cannot import name" not in error]
loaded = [name for name in sys.modules if name.startswith("shop.m")]
result = [errors, len(loaded)]
""",
    ) == [[], count]
