"""``pickle`` and ``copy`` find classes by the name of their module."""

from __future__ import annotations

from .worlds import Program

FILES = {
    "shop/__init__.py": "",
    "shop/models.py": """
        import collections, dataclasses, enum, typing
        class Thing:
            def __init__(self, size): self.size = size
            def __eq__(self, other): return type(other) is type(self) and other.size == self.size
            class Inner: pass
            def method(self): return self.size
        class Reduced(Thing):
            def __reduce__(self): return (make, (self.size,))
        class Slotted:
            __slots__ = ("a",)
        def make(size): return Reduced(size)
        class Colour(enum.Enum):
            RED = 1
        class Point(typing.NamedTuple):
            x: int
        Pair = collections.namedtuple("Pair", "a b")
        @dataclasses.dataclass
        class Record:
            name: str
        class Wrong(Exception):
            def __init__(self, a, b): super().__init__(a, b)
        """,
}


def test_both_implementations(program: Program) -> None:
    assert program(
        FILES,
        """
        import io, pickle
        from shop import models
        things = [models.Thing(1), models.Reduced(2), models.Colour.RED, models.Point(3),
                  models.Pair(1, 2), models.Record("x"), models.Thing, models.make,
                  models.Thing.Inner, models.Thing.Inner.__name__]
        result = []
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for dumps in (pickle.dumps, pickle._dumps):
                blob = dumps(things, protocol)
                for loads in (pickle.loads, pickle._loads):
                    result.append(loads(blob) == things)
        buffer = io.BytesIO()
        pickle.Pickler(buffer).dump(models.Thing(5).method)
        buffer.seek(0)
        result = [all(result), len(result), pickle.Unpickler(buffer).load()()]
        """,
    ) == [True, 24, 5]


def test_a_module_that_nobody_has_imported(program: Program) -> None:
    """``pickle`` imports what it needs, once, and binds nothing but it."""
    blob = b"cshop.models\nThing\n."
    assert program(
        {
            **FILES,
            "log.py": "lines = []",
            "late.py": "import log\nlog.lines.append(1)\nclass A: pass",
        },
        f"""
        import log, pickle, sys
        thing = pickle.loads({blob!r})
        import shop.models
        result = [thing is shop.models.Thing, type(shop.models) is type(sys), shop.models is
                  sys.modules["shop.models"]]
        late = pickle._loads(b"clate\\nA\\n.")
        import late as module
        result += [late is module.A, type(module) is type(sys), log.lines]
        """,
    ) == [True, True, True, True, True, [1]]


def test_the_python_one_imports_a_submodule(program: Program) -> None:
    assert program(
        FILES,
        """
        import pickle, sys
        thing = pickle._loads(b"cshop.models\\nThing\\n.")
        import shop.models
        from shop import models
        result = [thing is models.Thing, type(shop.models) is type(sys)]
        result.append(shop.models is sys.modules["shop.models"])
        """,
    ) == [True, True, True]


def test_what_cannot_be_found(program: Program) -> None:
    assert program(
        {**FILES, "broken.py": "import gone_too"},
        """
        import pickle
        result = []
        for loads in (pickle.loads, pickle._loads):
            for blob in (b"cgone\\nA\\n.", b"cshop.models\\nGone\\n.", b"cbroken\\nA\\n."):
                try:
                    loads(blob)
                except (ImportError, AttributeError) as exc:
                    result.append(f"{type(exc).__name__} {getattr(exc, 'name', '')}")
        from shop.models import Thing
        Thing.__qualname__ = "Elsewhere"
        for dumps in (pickle.dumps, pickle._dumps):
            try:
                dumps(Thing)
            except (pickle.PicklingError, AttributeError):
                result.append("refused")
        """,
    ) == [
        "ModuleNotFoundError gone",
        "AttributeError None",
        "ModuleNotFoundError gone_too",
        "ModuleNotFoundError gone",
        "AttributeError Gone",
        "ModuleNotFoundError gone_too",
        "refused",
        "refused",
    ]


def test_functions_of_the_standard_library(program: Program) -> None:
    assert (
        program(
            {},
            """
        import copyreg, json, logging, os, pickle, signal, sqlite3, sys, threading, time, uuid
        things = [json.dumps, os.getpid, os.path.join, time.sleep, logging.getLevelName, len,
                  os.stat_result, uuid.UUID(int=1), logging.WARNING, signal.SIGTERM, ValueError,
                  sqlite3.Row, threading.Thread, copyreg.constructor, sys.exit]
        result = []
        for dumps, loads in ((pickle.dumps, pickle.loads), (pickle._dumps, pickle._loads)):
            for thing in things:
                try:
                    if loads(dumps(thing)) != thing:
                        result.append(f"{thing}: another")
                except Exception as exc:
                    result.append(f"{thing}: {exc}")
        """,
        )
        == []
    )


def test_expected_difference_functions_of_views(program: Program) -> None:
    """The Python functions of ``os`` and a few others are the program's own, and ``pickle`` finds
    those of the process under their names: it refuses, and gives nothing wrong."""
    assert program(
        {},
        """
        import atexit, os, pickle, signal
        result = []
        for thing in (os.getenv, os.makedirs, signal.signal, atexit.register, print):
            for dumps, loads in ((pickle.dumps, pickle.loads), (pickle._dumps, pickle._loads)):
                try:
                    result.append(loads(dumps(thing)) is thing)
                except pickle.PicklingError:
                    result.append(None)
        """,
    ) == program.either(plain=[True] * 10, namespace=[None] * 10)


def test_in_a_thread_pool(program: Program) -> None:
    """``submit(pickle.loads, blob)`` has no frame of the program on its stack."""
    assert program(
        FILES,
        """
        import pickle
        from concurrent.futures import ThreadPoolExecutor
        from shop.models import Thing, Colour
        blob = pickle.dumps([Thing(1), Colour.RED])
        with ThreadPoolExecutor(4) as pool:
            found = [pool.submit(f, blob).result() for f in (pickle.loads, pickle._loads) * 4]
            again = pool.submit(pickle.dumps, Thing(1)).result()
            late = pool.submit(pickle.loads, b"clate\\nA\\n.")
            error = late.exception()
        result = [all(f == [Thing(1), Colour.RED] for f in found), pickle.loads(again) == Thing(1)]
        result.append(repr(error))
        """,
    ) == [True, True, """ModuleNotFoundError("No module named 'late'")"""]


def test_a_first_import_in_a_thread_pool(program: Program) -> None:
    assert (
        program(
            {
                "late.py": "class A: pass",
                "later.py": "class A: pass",
                "shop/late.py": "class A: pass",
            },
            """
        import pickle, sys
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(1) as pool:
            one = pool.submit(pickle.loads, b"clate\\nA\\n.").result()
            two = pool.submit(pickle._loads, b"clater\\nA\\n.").result()
            three = pool.submit(pickle._loads, b"cshop.late\\nA\\n.").result()
        import late, later, shop.late
        from shop import late as fourth
        result = [late.A is one, later.A is two, shop.late.A is three, fourth is shop.late]
        result += [type(module) is type(sys) for module in (late, later, shop, fourth)]
        """,
        )
        == [True] * 8
    )


def test_a_chain_of_threads(program: Program) -> None:
    """A thread that a thread started, with nothing of the program between."""
    assert program(
        FILES,
        """
        import pickle, threading
        from functools import partial
        from shop.models import Thing
        blob, found = pickle.dumps(Thing(3)), []
        def start(target):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        class Collect:
            append = found.append
        timer = threading.Timer(0, lambda: found.append(pickle.loads(blob).size))
        start(timer.run)
        inner = threading.Thread(target=partial(map(pickle.loads, [blob] * 2).__next__))
        outer = threading.Thread(target=inner.start)
        outer.start(); outer.join(); inner.join()
        result = found
        """,
    ) == [3]


def test_a_queue_of_multiprocessing(program: Program) -> None:
    """Its feeder thread pickles what was put into it."""
    assert (
        program(
            FILES,
            """
        import multiprocessing
        from shop.models import Thing
        queue = multiprocessing.get_context("spawn").Queue()
        queue.put(Thing(4))
        result = queue.get(timeout=20).size
        queue.close()
        queue.join_thread()
        """,
        )
        == 4
    )


def test_persistent_and_own_picklers(program: Program) -> None:
    assert program(
        FILES,
        """
        import copyreg, io, pickle
        from shop.models import Thing, Slotted
        class Own(pickle.Unpickler):
            def find_class(self, module, name):
                found.append(f"{module}.{name}")
                return super().find_class(module, name)
        found = []
        thing = Own(io.BytesIO(pickle.dumps(Thing(1)))).load()
        slotted = Slotted()
        slotted.a = 5
        copyreg.pickle(Slotted, lambda s: (Thing, (s.a,)))
        result = [found, thing.size, pickle.loads(pickle.dumps(slotted)).size]
        """,
    ) == [["shop.models.Thing"], 1, 5]


def test_exceptions(program: Program) -> None:
    assert program(
        FILES,
        """
        import pickle
        from shop.models import Wrong
        error = pickle.loads(pickle.dumps(Wrong(1, 2)))
        result = [type(error) is Wrong, error.args]
        """,
    ) == [True, [1, 2]]


def test_copy(program: Program) -> None:
    assert program(
        FILES,
        """
        import copy
        from shop.models import Colour, Point, Record, Reduced, Thing
        things = [Thing(1), Reduced(2), Colour.RED, Point(1), Record("a"), {"k": [Thing(3)]}]
        result = [copy.copy(things) == things, copy.deepcopy(things) == things]
        result += [copy.deepcopy(things)[0] is things[0], copy.deepcopy(Colour.RED) is Colour.RED]
        result += [type(copy.copy(Reduced(1))) is Reduced, copy.deepcopy(Thing) is Thing]
        """,
    ) == [True, True, False, True, True, True]


def test_shelve_and_marshal(program: Program) -> None:
    assert program(
        FILES,
        """
        import marshal, os, shelve
        from shop.models import Thing
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shelf")
        with shelve.open(path) as shelf:
            shelf["a"] = Thing(6)
        with shelve.open(path) as shelf:
            result = [shelf["a"].size, type(shelf["a"]) is Thing]
        code = marshal.loads(marshal.dumps(compile("from shop.models import make", "x", "exec")))
        variables = {}
        exec(code, variables)
        result.append(variables["make"](1).size)
        """,
    ) == [6, True, 1]
