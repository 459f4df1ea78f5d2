"""Who is asking: frames first, then the owner of the thread."""

from __future__ import annotations

import functools
import gc
import os.path
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.namespace import Namespace, callers

from .worlds import load


def asking() -> Any:
    """Who calls this function."""
    return callers.namespace()


@pytest.fixture
def namespace(hooks: None) -> Iterator[Namespace]:
    namespace = Namespace("asker", environ={"HOME": "asker"})
    yield namespace
    assert namespace.close() == []


def test_the_process_asks_for_itself() -> None:
    assert callers.namespace() is None
    assert list(callers.domains()) == []


def test_code_of_a_namespace(namespace: Namespace) -> None:
    ask = load(namespace, "def ask(f): return f()")["ask"]
    assert ask(asking) is namespace
    assert ask(lambda: asking()) is None  # a frame of the process comes first


def test_shared_code_asks_for_its_caller(namespace: Namespace) -> None:
    source = """
        import os.path, json
        home = os.path.expanduser("~")
        def dump(f): return json.dumps([object()], default=f)
        """
    variables = load(namespace, source)
    assert variables["home"] == "asker"
    assert os.path.expanduser("~") != "asker"
    found: list[Any] = []

    def default(_: object) -> int:
        found.append(asking())
        found.append(callers.namespace(depth=2))
        return 1

    variables["dump"](default)
    assert found == [None, namespace]


def test_code_for_the_process(namespace: Namespace) -> None:
    ask = load(namespace, "def ask(f, *args): return f(*args)")["ask"]
    assert ask(callers.for_process, asking) is None
    assert ask(asking) is namespace


def test_a_module_of_the_standard_library_asks_for_the_process(namespace: Namespace) -> None:
    """What it finds while it is executed may be kept for ever, for everybody."""
    run = load(namespace, "def run(f): return f()")["run"]
    variables: dict[str, Any] = {"__name__": "json.made", "asking": asking, "found": []}
    exec("def function(): found.append(asking())\n", variables)
    module = compile("found.append(asking())", "made.py", "exec")
    assert module.co_name == "<module>"
    run(variables["function"])
    run(lambda: None)
    load(namespace, "def run(exec, *args): exec(*args)")["run"](exec, module, variables)
    assert variables["found"] == [namespace, None]


def test_the_owner_of_a_thread(namespace: Namespace) -> None:
    """It counts when there is no other frame than those of the standard library."""
    source = """
        import threading
        def start(target):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        """
    start = load(namespace, source)["start"]
    found: list[Any] = []
    start(functools.partial(os.path.expanduser, _Seen(found)))
    start(lambda: found.append(asking()))
    start(lambda: found.append(callers.thread_owner(threading.get_ident())))
    assert found == [namespace, None, namespace]


class _Seen(str):
    """Given to shared code, notes who is asking there."""

    def __new__(cls, found: list[Any]) -> _Seen:
        seen = super().__new__(cls, "~")
        seen.found = found  # type: ignore[attr-defined]
        return seen

    def __fspath__(self) -> str:  # pragma: no cover
        return "~"

    def startswith(self, *args: Any) -> bool:
        self.found.append(callers.namespace())  # type: ignore[attr-defined]
        return False


def test_a_thread_is_not_asked_for_its_owner(namespace: Namespace) -> None:
    source = """
        import threading
        end = threading.Event()
        class Thread(threading.Thread):
            asked = False
            def __getattribute__(self, name):
                if Thread.asked:
                    raise SystemExit(name)
                return super().__getattribute__(name)
        thread = Thread(target=end.wait)
        thread.start()
        ident = thread.ident
        """
    variables = load(namespace, source)
    variables["Thread"].asked = True
    try:
        assert callers.thread_owner(variables["ident"]) is namespace
    finally:
        variables["Thread"].asked = False
        variables["end"].set()
        variables["thread"].join()
    noted = id(variables.pop("thread"))
    gc.collect()
    assert noted not in callers._started


def test_a_thread_of_the_process_has_no_owner(namespace: Namespace) -> None:
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.append(callers.thread_owner(threading.get_ident()))
    )
    thread.start()
    thread.join()
    assert found == [None]


def test_a_dead_domain_is_forgotten(hooks: None) -> None:
    gc.collect()
    before = len(callers._domains)
    namespace = Namespace("short")
    assert len(callers._domains) == before + 1
    del namespace
    gc.collect()
    assert len(callers._domains) == before
