"""The threads of one generation of a site.

A generation owns its threads, because what is kept for a thread must not outlive it or reach
another site: thread-locals and context variables, database connections, the working directory.
Threads start when they are needed, the one used last is taken first, and one that has been idle
for a while ends. Each keeps one context for its whole life: a fresh one for each request would
make Django open a cache client for each request.

They are daemon threads, so that a view that hangs never blocks the exit of the gateway.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


class Threads(Executor):
    """An executor with at most ``limit`` threads, which end after ``idle`` seconds without work.

    ``start`` and ``end`` are called on each thread before its first and after its last task.
    """

    def __init__(
        self,
        name: str,
        limit: int,
        *,
        idle: float = 15.0,
        start: Callable[[], None] | None = None,
        end: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.limit = limit
        self._idle_seconds = idle
        self._start = start
        self._end = end
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._waiting: deque[_Task] = deque()
        self._closed = False

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run ``fn`` on a thread of the generation; raises ``RuntimeError`` after ``shutdown``."""
        task = _Task(functools.partial(fn, *args, **kwargs))
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the threads of {self.name} have been shut down")
            if self._idle:
                self._idle.pop().give(task)
            elif len(self._workers) < self.limit:
                self._workers.add(_Worker(self, task))
            else:
                self._waiting.append(task)
        return task.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; threads end when what was submitted is done."""
        with self._lock:
            self._closed = True
            cancelled = list(self._waiting) if cancel_futures else []
            if cancel_futures:
                self._waiting.clear()
            for worker in self._idle:
                worker.give(None)
            self._idle.clear()
            workers = list(self._workers)
        for task in cancelled:
            task.future.cancel()
        if wait:
            for worker in workers:
                worker.thread.join()

    def alive(self) -> list[threading.Thread]:
        """The threads that have not ended."""
        with self._lock:
            return [worker.thread for worker in self._workers]

    def _next(self, worker: _Worker) -> _Task | None:
        """The next task of ``worker``, which waits for it; ``None`` when it is to end."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._closed:
                return None
            self._idle.append(worker)
        if worker.wait(self._idle_seconds):
            return worker.task
        with self._lock:
            if worker in self._idle:
                self._idle.remove(worker)
                self._workers.discard(worker)
                return None
        worker.wait(None)  # a task was given while the wait ran out
        return worker.task

    def _run(self, worker: _Worker) -> None:
        self._call(self._start)
        task = worker.task
        while task is not None:
            task.run()
            # Nothing of a request may live on in an idle thread.
            worker.task = task = None
            task = self._next(worker)
        self._call(self._end)
        with self._lock:
            self._workers.discard(worker)

    def _call(self, function: Callable[[], None] | None) -> None:
        if function is not None:
            try:
                function()
            except Exception:
                logger.exception("%s: a thread could not be started or ended cleanly", self.name)


class _Task:
    __slots__ = ("_call", "future")

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.future: Future[Any] = Future()

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._call()
        except BaseException as exc:  # a site's SystemExit belongs to its request
            self.future.set_exception(exc)
        else:
            self.future.set_result(result)


class _Worker:
    __slots__ = ("_given", "task", "thread")

    def __init__(self, threads: Threads, task: _Task) -> None:
        self.task: _Task | None = task
        self._given = threading.Semaphore(0)
        self.thread = threading.Thread(
            target=threads._run, args=(self,), name=f"{threads.name} worker", daemon=True
        )
        self.thread.start()

    def give(self, task: _Task | None) -> None:
        self.task = task
        self._given.release()

    def wait(self, timeout: float | None) -> bool:
        return self._given.acquire(timeout=timeout)
