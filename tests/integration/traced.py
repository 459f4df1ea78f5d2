"""The gateway's application, watched: a trace says in which order its modules are entered.

``uvicorn tests.integration.traced:app``, with two environment variables. ``TRACE_FOLDER`` is where
each process writes its trace, ``PID.trace``. ``TRACE_FROM`` has the functions that begin a trace
(``sites.site:Site.unload_if_idle``), with commas between them. A process records nothing before it
gets ``SIGUSR1``, which it confirms in the trace, and one of these functions is called after that.

Left out is what does not belong to a walk: the tasks and threads that the lifespan has started,
with all that they call elsewhere; what is left of earlier requests; and the callbacks of the
garbage collector. A call of a function of ``TRACE_FROM`` counts there too, and its callers with it.
"""

from __future__ import annotations

import contextvars
import functools
import gc
import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from starlette.types import Receive, Scope, Send

import gateway
from gateway.cluster.store.thread import StoreThread
from gateway.execution.passage import Passage
from gateway.main import app as gateway_app

from .traces import ARMED, Entry

_ROOT: Final = os.path.join(os.path.dirname(gateway.__file__), "")
_beside: Final = contextvars.ContextVar("_beside", default=False)
"""Whether what runs is left out. What begins in an empty context, as new threads do, is not."""


class _Tracer:
    """Callable as a profile function; see `sys.setprofile`."""

    def __init__(self, trace: Path, starts: frozenset[str]) -> None:
        self.begun = False
        self._armed = False
        self._starts = starts
        self._file = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._names: dict[CodeType, str] = {}
        self._entered: set[str] = set()

    def arm(self, *_: object) -> None:
        """A signal handler."""
        self._armed = True
        self._write(ARMED)

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if not self._armed or event != "call":
            return
        code = frame.f_code
        name = self._names.get(code)
        if name is None:
            name = self._names[code] = _module(code)
        if not name:
            return
        if f"{name}:{code.co_qualname}" in self._starts:
            self._begin(frame)
        if self.begun and name not in self._entered and not _beside.get():
            self._enter(name, code)

    def _begin(self, frame: FrameType) -> None:
        _beside.set(False)
        if self.begun:
            return
        self.begun = True
        callers: list[CodeType] = []
        outer = frame.f_back
        while outer is not None:
            callers.append(outer.f_code)
            outer = outer.f_back
        for code in reversed(callers):
            if (name := _module(code)) and name not in self._entered:
                self._enter(name, code)

    def _enter(self, name: str, code: CodeType) -> None:
        self._entered.add(name)
        self._write(str(Entry(name, code.co_qualname, str(threading.get_native_id()))))

    def _write(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())


def _module(code: CodeType) -> str:
    """The module of the gateway that a function stands in; empty for what is no function of it."""
    if not code.co_filename.startswith(_ROOT) or not code.co_flags & inspect.CO_OPTIMIZED:
        return ""
    # Python calls these in the middle of anything.
    if any(getattr(each, "__func__", each).__code__ is code for each in gc.callbacks):
        return ""
    path = code.co_filename.removeprefix(_ROOT).removesuffix(".py")
    return path.replace(os.sep, ".").removesuffix(".__init__")


_tracer: Final = _Tracer(
    Path(os.environ["TRACE_FOLDER"], f"{os.getpid()}.trace"),
    frozenset(os.environ["TRACE_FROM"].split(",")),
)


def _carried(put: Callable[[StoreThread, Any], Any]) -> Callable[[StoreThread, Any], Any]:
    """Let a question to the store belong to what its asker does: one thread serves all of them."""

    @functools.wraps(put)
    def put_with_context(thread: StoreThread, question: Any) -> Any:
        return put(thread, functools.partial(contextvars.copy_context().run, question))

    return put_with_context


def _starting(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """Let a thread stay beside if who starts it is; else it begins in a context of its own."""

    @functools.wraps(start)
    def start_beside(thread: threading.Thread) -> None:
        if _beside.get():
            context = contextvars.Context()
            context.run(_beside.set, True)
            thread.run = functools.partial(context.run, thread.run)  # type: ignore[method-assign]
        start(thread)

    return start_beside


def _afresh(perform: Callable[[Passage, Any], None]) -> Callable[[Passage, Any], None]:
    """Let what a thread does for a request belong to the request, whoever started the thread."""

    @functools.wraps(perform)
    def perform_afresh(passage: Passage, worker: Any) -> None:
        contextvars.Context().run(perform, passage, worker)

    return perform_afresh


Passage.perform = _afresh(Passage.perform)  # type: ignore[method-assign]
StoreThread.ask = _carried(StoreThread.ask)  # type: ignore[assignment, method-assign]
StoreThread.tell = _carried(StoreThread.tell)  # type: ignore[assignment, method-assign]
threading.Thread.start = _starting(threading.Thread.start)  # type: ignore[assignment, method-assign]
signal.signal(signal.SIGUSR1, _tracer.arm)
threading.setprofile(_tracer)
sys.setprofile(_tracer)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """What uvicorn serves."""
    if not _tracer.begun:
        _beside.set(True)
    await gateway_app(scope, receive, send)
