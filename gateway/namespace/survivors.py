"""What is left of a namespace that was closed, and what holds it.

Code knows its builtins: while a function, a class with methods or a module of a namespace is in
memory, so is the dictionary of its builtins, and with it the ``__import__`` in there. A weak
reference to that function therefore tells whether the code is gone; one to the `Namespace` alone
would not, for a leaked function needs none.

What holds it is looked for from the outside: from the modules of the process along everything
that they refer to, until something of the namespace turns up. So what is found is a whole path
with a root that can be named, and the search takes its turn like any other Python code, where
``gc.get_referrers`` stops every thread for as long as it looks at all objects, once for each step.
Nothing of a site is called: values are named by their types.

Not seen is what hangs on the local variables of running functions and on C code alone, the state
of modules in C included; reading the variables of another thread's frames would keep them alive
before Python 3.13.
"""

from __future__ import annotations

import array
import gc
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CellType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Final, cast

from gateway.namespace import callers, frames
from gateway.namespace.namespace import Namespace

SECONDS: Final = 10.0
"""How long one search may take."""
OBJECTS: Final = 500_000
"""How many objects one search may look at; they take about 80 bytes each meanwhile."""
_TURN: Final = 500
"""Objects between two short sleeps: as long as it works, the search lets others work."""
_REST: Final = 0.001
_LEAVES: Final = (
    str, bytes, int, float, complex, bool, types.NoneType, CodeType, range, weakref.ref,
    types.EllipsisType,
)  # fmt: skip
"""Types whose objects lead nowhere; looked for exactly, not their subclasses."""
_FUNCTIONS: Final = (FunctionType, types.MethodType, types.BuiltinMethodType)


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread that runs code of a namespace, or was started by it."""

    name: str
    where: str
    """The innermost frame of the namespace's code, or of any."""

    def __str__(self) -> str:
        return f'thread "{self.name}", {self.where}'


class Trace:
    """Tells whether the code of a namespace is in memory, and keeps nothing of it there."""

    def __init__(self, namespace: Namespace) -> None:
        builtins = vars(namespace._builtins)
        self.name = namespace.name
        self._namespace = weakref.ref(namespace)
        self._import = weakref.ref(builtins["__import__"])
        # Nothing else has this id as long as the dictionary lives, which is all that is asked.
        self._builtins = id(builtins)

    @property
    def alive(self) -> bool:
        """Whether anything is left that can run or be imported from."""
        return self._namespace() is not None or self._import() is not None

    def threads(self, *, running: bool = False) -> list[Thread]:
        """The threads that run its code or were started by it; with ``running`` only who are both.

        Those that it only started may end once garbage is collected, as those of a pool may do.
        To look at the frames of other threads is left out where it is not needed.
        """
        if not self.alive:
            return []
        namespace, names = self._namespace(), {t.ident: t.name for t in threading.enumerate()}
        started = {
            ident
            for ident in names
            if ident and namespace is not None and callers.thread_owner(ident) is namespace
        }
        if running and not started:
            return []
        found = []
        with frames.of_all_threads() as innermost:
            for ident, frame in innermost.items():
                if running and ident not in started:
                    continue
                own = next(filter(self._runs, frames.outwards(frame)), None)
                if own is not None or (ident in started and not running):
                    found.append(Thread(names.get(ident) or str(ident), _place(own or frame)))
        return found

    def holder(self, *, seconds: float = SECONDS, objects: int = OBJECTS) -> str:
        """The shortest path to it from a module of the process, or why there is none.

        Takes up to ``seconds`` and looks at up to ``objects`` objects; not for the event loop.
        """
        return _Search(self._is_part, self._wrote, seconds, objects).run()

    def _runs(self, frame: FrameType) -> bool:
        return id(frame.f_builtins) == self._builtins

    def _is_part(self, value: object) -> bool:
        if type(value) is FunctionType:
            return id(cast(Any, value).__builtins__) == self._builtins
        if type(value) is dict:
            return id(value) == self._builtins
        return type(value) is Namespace and value is self._namespace()

    def _wrote(self, value: object) -> bool:
        cls = value if isinstance(value, type) else type(value)
        author = callers.author(cls)
        return author is not None and author is self._namespace()


class _Search:
    """Breadth first, so that what is found is the shortest path."""

    def __init__(
        self,
        is_part: Callable[[object], bool],
        wrote: Callable[[object], bool],
        seconds: float,
        objects: int,
    ) -> None:
        self._is_part = is_part
        self._wrote = wrote
        self._deadline = time.monotonic() + seconds
        self._objects = objects
        self._found: list[Any] = []
        self._parents = array.array("l")
        self._seen = {id(self), id(self._found), id(self.__dict__)}

    def run(self) -> str:
        """See ``Trace.holder``."""
        for module in list(sys.modules.values()):
            if _is_module(module):
                self._add(module, -1)
        at = 0
        while at < len(self._found):
            if at % _TURN == 0:
                time.sleep(_REST)
                if time.monotonic() > self._deadline or at > self._objects:
                    return f"nothing found among {at} objects that modules lead to"
            value = self._found[at]
            if self._is_part(value):
                return " → ".join(self._path(at))
            for held in _held_by(value):
                self._add(held, at)
            at += 1
        return "no module leads to it: a running function or C code holds it"

    def _add(self, value: Any, parent: int) -> None:
        if type(value) not in _LEAVES and id(value) not in self._seen:
            self._seen.add(id(value))
            self._found.append(value)
            self._parents.append(parent)

    def _path(self, at: int) -> Iterator[str]:
        steps = []
        while at >= 0:
            steps.append(self._found[at])
            at = self._parents[at]
        steps.reverse()
        root, *rest = steps
        yield f"module {object.__getattribute__(root, '__name__')}"
        holder = root
        for step in rest:
            name = _name_in(holder, step)
            # The dictionary of a module or an object is no step of its own for a reader.
            if name != "__dict__":
                yield f"{name} ({_kind(step)})".lstrip()
            if self._wrote(step):
                return  # how an object leads to its class and that to its code is no news
            holder = step


def _is_module(value: object) -> bool:
    """Not asked by its ``__class__``: the ``lib`` of a module made by cffi says that it is one."""
    return issubclass(type(value), ModuleType)


def _held_by(value: object) -> list[Any]:
    """What ``value`` refers to; of a module not what its C code keeps.

    Among that may be free lists of dead objects, which a reference brings to life and whose second
    death makes the list a circle: with ``_asyncio`` of Python 3.12 the next full collection would
    never end.
    """
    if _is_module(value):
        return [object.__getattribute__(value, "__dict__")]
    return gc.get_referents(value)


def _place(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"


def _kind(value: Any) -> str:
    if type(value) is FunctionType:
        return f"function {value.__module__}.{value.__qualname__}"
    if isinstance(value, type):
        return f"class {_full_name(value)}"
    return _full_name(type(value))


def _full_name(cls: type) -> str:
    module = type.__dict__["__module__"].__get__(cls)
    name = type.__dict__["__qualname__"].__get__(cls)
    return str(name) if module == "builtins" else f"{module}.{name}"


def _name_in(holder: Any, value: Any) -> str:
    """As what ``holder`` has ``value``; empty if that cannot be told without calling code."""
    if type(holder) in (dict, types.MappingProxyType) or isinstance(holder, dict):
        for key, held in list(dict.items(holder)):
            if held is value:
                return key if type(key) is str else f"[{_kind(key)}]"
            if key is value:
                return "a key"
        return ""
    if isinstance(holder, list | tuple):
        return next((f"[{n}]" for n, held in enumerate(list(holder)) if held is value), "")
    if isinstance(holder, CellType):
        return "cell_contents"
    try:
        attributes = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        attributes = {}
    if attributes is value:
        return "__dict__"
    for name in ("__closure__", "__defaults__", "__self__", "__func__", "__wrapped__"):
        if type(holder) in _FUNCTIONS and value is getattr(holder, name, None):
            return name
    return next((f".{k}" for k, v in list(attributes.items()) if v is value), "")
