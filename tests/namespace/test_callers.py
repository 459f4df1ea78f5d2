"""Who is asking: frames first, then the owner of the thread."""

from __future__ import annotations

import gc
import json
import os.path
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.namespace import Namespace, callers

from .worlds import load


@pytest.fixture
def namespace(hooks: None) -> Iterator[Namespace]:
    namespace = Namespace("asker", environ={"HOME": "asker"})
    yield namespace
    assert namespace.close() == []


def test_the_process_asks_for_itself() -> None:
    assert callers.namespace() is None
    assert list(callers.domains()) == []


def test_code_of_a_namespace(namespace: Namespace) -> None:
    ask: Callable[[Callable[[], Any]], Any] = load(namespace, "def ask(f): return f()")["ask"]
    assert load(namespace, "def ask(f): return f.__self__")["ask"]  # it is code like any other
    assert ask(lambda: None) is None
    assert ask(callers.namespace) is namespace
    assert list(ask(lambda: list(callers.domains()))) == []  # a frame of the process comes first


def test_shared_code_asks_for_its_caller(namespace: Namespace) -> None:
    source = """
        import json
        def dumps(default): return json.dumps(object(), default=default)
        def sort(key): return sorted([1], key=key)
        """
    variables = load(namespace, source)
    found: list[Any] = []

    class Asking(json.JSONEncoder):
        def default(self, o: object) -> str:
            return "process"

    variables["sort"](lambda n: found.append(callers.namespace()))
    assert found == [None]
    assert os.path.expanduser("~") != "asker"
    assert load(namespace, "import os.path; home = os.path.expanduser('~')")["home"] == "asker"


def test_code_for_the_process(namespace: Namespace) -> None:
    ask = load(namespace, "def ask(f, *args): return f(*args)")["ask"]
    assert ask(callers.for_process, callers.namespace) is None
    assert ask(callers.namespace) is namespace


def test_a_module_of_the_standard_library_asks_for_the_process(namespace: Namespace) -> None:
    """What it finds while it is executed may be kept for ever, for everybody."""
    source = """
        import os, sys
        sys.modules.pop("this", None)
        """
    load(namespace, source)
    code = compile(
        "from gateway.namespace import callers\nfound = callers.namespace()", "x", "exec"
    )
    variables: dict[str, Any] = {"__name__": "json.made"}
    run = load(namespace, "def run(f, *args): return f(*args)")["run"]

    def execute(*args: Any) -> None:
        exec(*args)

    run(execute, code, variables)
    assert variables["found"] is None


def test_the_owner_of_a_thread(namespace: Namespace) -> None:
    source = """
        import threading
        def start(target):
            thread = threading.Thread(target=target)
            thread.start()
            return thread
        """
    start = load(namespace, source)["start"]
    thread = start(threading.Event().wait)
    del thread
    started, release = threading.Event(), threading.Event()

    class Work(threading.Thread):
        """Its frames are those of the process: they come before the owner."""

        def run(self) -> None:
            found.append(callers.namespace())
            found.append(callers.thread_owner(threading.get_ident()))
            started.set()

    found: list[Any] = []
    run = load(namespace, "def start(thread): thread.start()")["start"]
    run(Work())
    assert started.wait(20)
    release.set()
    assert found == [None, namespace]


def test_a_thread_of_the_process_has_no_owner(namespace: Namespace) -> None:
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.append(callers.thread_owner(threading.get_ident()))
    )
    thread.start()
    thread.join()
    assert found == [None]


def test_a_dead_domain_is_forgotten(hooks: None) -> None:
    before = len(callers._domains)
    namespace = Namespace("short")
    assert len(callers._domains) == before + 1
    del namespace
    gc.collect()
    assert len(callers._domains) == before
