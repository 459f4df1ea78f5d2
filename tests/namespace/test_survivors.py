"""What is left of a namespace, and code that kept one for ever."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway.namespace import Namespace
from gateway.namespace.survivors import Trace
from tests.integration.cache import virtual_environment

from .worlds import load, write

pytestmark = pytest.mark.usefixtures("hooks")


def test_native_code_keeps_nothing_of_the_site_that_imports_it_first() -> None:
    venv = virtual_environment(["charset-normalizer~=3.4.0"])  # compiled by mypyc
    namespace = Namespace("shop", venv=venv)
    namespace.import_module("logging")
    detector = namespace.import_module("charset_normalizer.md")
    if not str(detector.__file__).endswith(".py"):  # so there is a wheel for this machine
        assert Namespace("blog", venv=venv).import_module("charset_normalizer.md") is detector
    trace = Trace(namespace)
    namespace.close()
    del namespace, detector
    gc.collect()
    assert not trace.alive, trace.holder()


@pytest.mark.parametrize(
    ("leak", "path"),
    [
        (lambda shop: {"prices": [shop.price]}, "(dict) → prices (list) → [0]"),
        (
            lambda shop: shop.cached.cache_clear,
            "(builtin_function_or_method) → __self__ (functools._lru_cache_wrapper) → .__wrapped__",
        ),
    ],
    ids=["function", "method in C"],
)
def test_a_leaked_function_alone_is_seen(
    tmp_path: Path, leak: Callable[[Any], object], path: str
) -> None:
    write(
        tmp_path,
        {"shop.py": "import functools\ndef price(): return 1\ncached = functools.cache(price)"},
    )
    namespace = Namespace("shop", path=[tmp_path])
    trace = Trace(namespace)
    vars(threading)["LEAK"] = leak(namespace.import_module("shop"))
    try:
        namespace.close()
        del namespace
        gc.collect()
        assert trace.alive
        assert trace.holder() == f"module threading → LEAK {path} (function shop.price)"
    finally:
        del vars(threading)["LEAK"]
    gc.collect()
    assert not trace.alive


@pytest.mark.anyio
async def test_the_search_leaves_dead_objects_of_c_code_alone(tmp_path: Path) -> None:
    """Python 3.12 would never end its next collection; see ``_held_by``."""
    futures = [asyncio.get_running_loop().create_future() for _ in range(10)]
    waiting = [asyncio.ensure_future(_wait_for(each)) for each in futures]
    await asyncio.sleep(0)
    for future in futures:
        future.set_result(None)
    await asyncio.gather(*waiting)  # so _asyncio has iterators to use again
    namespace = Namespace("shop", path=[tmp_path])
    trace = Trace(namespace)
    namespace.close()
    assert trace.holder(objects=5_000)  # modules come first
    gc.collect()


def test_the_search_sees_through_what_only_says_it_is_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the ``lib`` of a module made by cffi does."""

    class Library:
        __slots__ = ("called",)
        __class__ = ModuleType  # type: ignore[assignment]

    write(tmp_path, {"shop.py": "def price(): return 1"})
    namespace = Namespace("shop", path=[tmp_path])
    trace = Trace(namespace)
    library = Library()
    library.called = namespace.import_module("shop").price
    monkeypatch.setitem(sys.modules, "library.lib", library)
    monkeypatch.setitem(vars(threading), "LEAK", library)
    namespace.close()
    assert trace.holder().endswith("Library) → (function shop.price)")


async def _wait_for(future: asyncio.Future[None]) -> None:
    await future


def test_threads_are_found_without_asking_the_class_that_a_site_has_written() -> None:
    source = """
        import threading

        def fail(*_):
            raise SystemExit("asked")

        class Text(str):
            __str__ = __repr__ = __format__ = __hash__ = __eq__ = fail

        class Key(str):
            def __hash__(self):
                return hash("_name")
            def __eq__(self, other):
                return fail() if asked else self is other

        class Thread(threading.Thread):
            def __getattribute__(self, name):
                return fail() if asked else super().__getattribute__(name)
            @property
            def __dict__(self):
                return fail() if asked else variables.__get__(self)

        asked = False
        variables = vars(threading.Thread)["__dict__"]
        end = threading.Event()

        def work():
            end.wait()

        work.__code__ = work.__code__.replace(
            co_filename=Text("text.py"), co_name=Text("x"), co_qualname=Text("work")
        )
        thread = Thread(target=work, name="busy", daemon=True)
        own = variables.__get__(thread)
        name = own.pop("_name")
        own[Key("k")] = 1
        own["_name"] = name
        thread.start()
        asked = True
        """
    namespace = Namespace("shop")
    variables = load(namespace, source)
    trace = Trace(namespace)
    try:
        [thread] = trace.threads(running=True)
        assert str(thread) == 'thread "busy", text.py:28 in work'
    finally:
        variables["asked"] = False
        variables["end"].set()
        variables["thread"].join()
        namespace.close()
