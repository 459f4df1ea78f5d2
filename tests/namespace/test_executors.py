"""``concurrent.futures`` and ``multiprocessing``: threads and children of a program."""

from __future__ import annotations

import logging
import os
import sys
import threading

import pytest

from gateway.namespace import Namespace

from .worlds import Program, load

WORK = {
    "work.py": """
        import os, sys, threading
        class Thing:
            def __init__(self, n): self.n = n
        def double(thing):
            import late
            return Thing(late.times * thing.n)
        def about(_):
            import __main__
            return [os.environ.get("COLOUR"), os.path.expanduser("~"), "late" in sys.modules]
        def fail(_):
            raise ValueError("in a child")
        """,
    "late.py": "times = 2",
}


def test_thread_pool(program: Program) -> None:
    assert program(
        WORK,
        """
        from concurrent.futures import ThreadPoolExecutor, as_completed
        from work import Thing, double, fail
        with ThreadPoolExecutor(3, initializer=__import__, initargs=("late",)) as pool:
            result = sorted(thing.n for thing in pool.map(double, map(Thing, range(4))))
            try:
                pool.submit(fail, 1).result()
            except ValueError as exc:
                result.append(str(exc))
        """,
    ) == [0, 2, 4, 6, "in a child"]


def test_names_of_the_package(program: Program) -> None:
    """``concurrent.futures`` imports its parts late, by ``__getattr__``."""
    assert program(
        {},
        """
        import sys, concurrent.futures, concurrent.futures as futures
        result = [concurrent.futures is futures is sys.modules["concurrent.futures"]]
        result += [futures.ThreadPoolExecutor.__module__, futures.ProcessPoolExecutor.__module__]
        from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
        import concurrent.futures.process as process
        result += [ThreadPoolExecutor is futures.ThreadPoolExecutor]
        result += [process.ProcessPoolExecutor is futures.ProcessPoolExecutor]
        result += [process is concurrent.futures.process is sys.modules[process.__name__]]
        result += [process.mp is __import__("multiprocessing")]
        """,
    ) == [True, "concurrent.futures.thread", "concurrent.futures.process", *[True] * 4]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_process(program: Program, method: str) -> None:
    assert program(
        WORK,
        f"""
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from work import Thing, double, fail
        def main():
            context = multiprocessing.get_context({method!r})
            queue = context.Queue()
            process = context.Process(target=run, args=(queue, Thing(4)))
            process.start()
            found = queue.get(timeout=30).n
            process.join(30)
            failing = context.Process(target=exit, args=(7,))
            failing.start()
            failing.join(30)
            return [found, process.exitcode, failing.exitcode]
        def run(queue, thing):
            queue.put(double(thing))
        if __name__ == "__main__":
            result = main()
        """,
    ) == [8, 0, 7]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_pool(program: Program, method: str) -> None:
    assert program(
        WORK,
        f"""
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from work import Thing, about, double, fail
        def main():
            with multiprocessing.get_context({method!r}).Pool(2) as pool:
                found = [thing.n for thing in pool.map(double, [Thing(1), Thing(2)])]
                found += pool.apply(about, (1,))
                try:
                    pool.apply(fail, (1,))
                except ValueError as exc:
                    found.append(str(exc))
                return found
        if __name__ == "__main__":
            result = main()
        """,
        environ={"COLOUR": "red"},
    )[:4] == [2, 4, "red", "/home/nobody"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_process_pool_executor(program: Program, method: str) -> None:
    assert program(
        WORK,
        f"""
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from concurrent.futures import ProcessPoolExecutor
        from work import Thing, about, double, fail
        class Own(Thing): pass
        def main():
            context = multiprocessing.get_context({method!r})
            with ProcessPoolExecutor(2, mp_context=context) as pool:
                found = [thing.n for thing in pool.map(double, [Thing(1), Own(2)])]
                found += pool.submit(about, 1).result()[:2]
                try:
                    pool.submit(fail, 1).result()
                except ValueError as exc:
                    found.append(str(exc))
            return found
        if __name__ == "__main__":
            result = main()
        """,
        environ={"COLOUR": "red"},
    ) == [2, 4, "red", "/home/nobody", "in a child"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_process_pool_executor_without_a_context(program: Program) -> None:
    assert program(
        WORK,
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from concurrent.futures import ProcessPoolExecutor
        from work import Thing, about, double
        if __name__ == "__main__":
            with ProcessPoolExecutor(1) as pool:
                result = [pool.submit(double, Thing(5)).result().n]
                result += pool.submit(about, 1).result()[:2]
        """,
        environ={"COLOUR": "red"},
    ) == [10, "red", "/home/nobody"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_manager_and_shared_memory(program: Program) -> None:
    assert program(
        WORK,
        """
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from multiprocessing.shared_memory import SharedMemory
        from multiprocessing.managers import BaseManager
        from work import Thing
        class Manager(BaseManager): pass
        Manager.register("Thing", Thing, exposed=["__getattribute__"])
        def main():
            context = multiprocessing.get_context("spawn")
            with multiprocessing.Manager() as manager:
                shared = manager.dict(a=1)
                shared["b"] = Thing(3)
                found = [shared["a"], shared["b"].n]
            memory = SharedMemory(create=True, size=8)
            memory.buf[:3] = b"abc"
            again = SharedMemory(memory.name)
            found.append(bytes(again.buf[:3]).decode())
            again.close(); memory.close(); memory.unlink()
            return found
        if __name__ == "__main__":
            result = main()
        """,
    ) == [1, 3, "abc"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork(program: Program) -> None:
    """``os.fork`` in a program: its own hooks run, its logging does not dead-lock."""
    assert program(
        WORK,
        """
        import logging, os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        calls = []
        os.register_at_fork(before=lambda: calls.append("before 1"),
                            after_in_parent=lambda: calls.append("parent 1"),
                            after_in_child=lambda: calls.append("child 1"))
        os.register_at_fork(before=lambda: calls.append("before 2"),
                            after_in_parent=lambda: calls.append("parent 2"),
                            after_in_child=lambda: calls.append("child 2"))
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                logging.getLogger("x").warning("in the child")
                import late
                os.write(write, repr([calls, late.times, os.environ["HOME"]]).encode())
            finally:
                os._exit(3)
        os.close(write)
        status = os.waitpid(pid, 0)[1]
        result = [eval(os.read(read, 1000)), calls, os.waitstatus_to_exitcode(status)]
        os.close(read)
        """,
    ) == [
        [["before 2", "before 1", "child 1", "child 2"], 2, "/home/nobody"],
        ["before 2", "before 1", "parent 1", "parent 2"],
        3,
    ]


def test_helper_processes_end_with_their_namespace(hooks: None) -> None:
    """Else every reload of a site that makes a lock for processes would leave one or two."""
    namespace = Namespace("a", environ=dict(os.environ))
    pids = load(
        namespace,
        """
        import multiprocessing
        from multiprocessing import forkserver, resource_tracker
        lock = multiprocessing.get_context("forkserver").Lock()
        forkserver.ensure_running()
        pids = [resource_tracker._resource_tracker._pid, forkserver._forkserver._forkserver_pid]
        """,
    )["pids"]
    for pid in pids:
        os.kill(pid, 0)
    assert namespace.close() == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_helper_process_that_somebody_holds_open(hooks: None) -> None:
    """A child of the site has the pipe as well: the namespace closes without it."""
    namespace = Namespace("a", environ=dict(os.environ))
    tracker = load(
        namespace,
        """
        import multiprocessing
        from multiprocessing.resource_tracker import _resource_tracker as tracker
        lock = multiprocessing.get_context("spawn").Lock()
        """,
    )["tracker"]
    held = os.dup(tracker._fd)
    assert namespace.close(patience=0.1) == []
    pid = tracker._pid
    os.kill(pid, 0)
    (waiting,) = [t for t in threading.enumerate() if t.name == "end _resource_tracker"]
    os.close(held)
    waiting.join(10)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forks_while_namespaces_come_and_go(hooks: None) -> None:
    """What is called after a fork is what was called before it, in the parent and in the child."""
    end = threading.Event()
    unraisable: list[object] = []
    statuses: list[int] = []

    def make() -> None:
        while not end.is_set():
            load(Namespace("short"), "import logging; logging.getLogger().debug('x')")

    def fork() -> None:
        for _ in range(10):
            pid = os.fork()
            if not pid:
                logging.getLogger().debug("in the child")
                os._exit(0 if not unraisable else 1)
            statuses.append(os.waitpid(pid, 0)[1])

    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        makers = [threading.Thread(target=make) for _ in range(2)]
        forkers = [threading.Thread(target=fork) for _ in range(2)]
        for thread in makers + forkers:
            thread.start()
        for thread in forkers:
            thread.join(60)
        end.set()
        for thread in makers:
            thread.join(60)
    finally:
        end.set()
        sys.unraisablehook = before
    assert statuses == [0] * 20
    assert not unraisable
