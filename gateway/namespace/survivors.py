"""Find out what is left of a closed namespace, and what holds it in memory.

Code refers to its builtins. While a function, a class with methods or a module of a namespace is in
memory, so is the dictionary of its builtins, and the ``__import__`` in that dictionary. So a weak
reference to this function tells whether the code is gone. A weak reference to the `Namespace`
would not tell, because a leaked function does not need the `Namespace`.

The search for the holder starts from the modules of the process and follows all references until it
meets something of the namespace. So it finds a whole path that begins with a named module. It runs
like any other Python code, together with other threads. ``gc.get_referrers`` would stop every
thread while it looks at all objects, once for each step of the path. The search calls no code of a
site: it names values by their types.

It does not see objects that only the local variables of running functions or only C code holds; the
state of modules in C is part of the latter. Before Python 3.13, reading the variables of another
thread's frames would keep them alive.
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
"""Seconds that one search may take."""
OBJECTS: Final = 500_000
"""The number of objects that one search may look at. Each takes about 80 bytes meanwhile."""
_TURN: Final = 500
"""Objects between two short sleeps, in which other threads can work."""
_REST: Final = 0.001
_LEAVES: Final = (
    str, bytes, int, float, complex, bool, types.NoneType, CodeType, range, weakref.ref,
    types.EllipsisType,
)  # fmt: skip
"""Types whose objects lead to nothing of interest. Their subclasses do not count."""
_VARIABLES: Final = vars(threading.Thread)["__dict__"]
"""Reads the variables of a thread, although its class may have a ``__dict__`` of its own."""
_FUNCTIONS: Final = (FunctionType, types.MethodType, types.BuiltinMethodType)


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread that runs code of a namespace, or was started by it."""

    name: str
    where: str
    """The innermost frame that runs code of the namespace, else the innermost frame."""

    def __str__(self) -> str:
        return f'thread "{self.name}", {self.where}'


class Trace:
    """Tells whether the code of a namespace is in memory, without keeping it there itself."""

    def __init__(self, namespace: Namespace) -> None:
        builtins = vars(namespace._builtins)
        self.name = namespace.name
        self._namespace = weakref.ref(namespace)
        self._import = weakref.ref(builtins["__import__"])
        # As long as the dictionary lives, nothing else has this id. Whether the code is still there
        # is told by the weak references.
        self._builtins = id(builtins)

    @property
    def alive(self) -> bool:
        """True while anything is left that can run or be imported from."""
        return self._namespace() is not None or self._import() is not None

    def threads(self, *, running: bool = False) -> list[Thread]:
        """Return the threads that run code of the namespace or were started by it.

        With ``running``, return only the threads of which both is true. A thread that was only
        started by it may end when garbage is collected, as the threads of a pool do. The frames of
        other threads are looked at only if that is needed.
        """
        if not self.alive:
            return []
        namespace, names = self._namespace(), _names_of_threads()
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
        """Return the shortest path from a module of the process to the namespace, as text.

        If none is found, the text says so. Takes up to ``seconds`` and looks at up to ``objects``
        objects. Do not call it on the event loop.
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
    """A search through the references between objects, breadth first to find the shortest path."""

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
        """Return the path that was found, or why there is none, as text for `Trace.holder`."""
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
            # For a reader, the dictionary of a module or an object is not a step of its own.
            if name != "__dict__":
                yield f"{name} ({_kind(step)})".lstrip()
            if self._wrote(step):
                return  # that an object leads to its class, and the class to its code, is no news
            holder = step


def _names_of_threads() -> dict[int, str]:
    """Return the names of the threads, each by its identifier, without calling code of a site."""
    names = {}
    for ident, thread in list(threading._active.items()):  # type: ignore[attr-defined]
        names[ident] = ""
        if not issubclass(type(thread), threading.Thread):
            continue
        # Asked for "_name", the dictionary would compare it with keys that a site may have made.
        for key, name in list(dict.items(_VARIABLES.__get__(thread))):
            if type(key) is str and key == "_name" and issubclass(type(name), str):
                names[ident] = str.__str__(name)
    return names


def _is_module(value: object) -> bool:
    """Tell whether ``value`` is a module, by its real type.

    ``__class__`` may not be true: the ``lib`` of a module made by cffi gives the class of modules.
    """
    return issubclass(type(value), ModuleType)


def _held_by(value: object) -> list[Any]:
    """Return the objects that ``value`` refers to; for a module, only its dictionary.

    The C code of a module may keep a free list of dead objects. A new reference would bring one of
    them to life, and its second death would make the list a circle. With ``_asyncio`` of Python
    3.12, the next full collection would never end.
    """
    if _is_module(value):
        return [object.__getattribute__(value, "__dict__")]
    return gc.get_referents(value)


def _place(frame: FrameType) -> str:
    place = frames.place(frame)
    return f"{place.file}:{place.line} in {place.qualified_name}"


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
    """Return the name or index under which ``holder`` has ``value``.

    The result is empty if finding out would mean calling code of a site.
    """
    if issubclass(type(holder), dict):
        for key, held in list(dict.items(holder)):
            if held is value:
                return key if type(key) is str else f"[{_kind(key)}]"
            if key is value:
                return "a key"
        return ""
    if issubclass(type(holder), list | tuple):
        return next((f"[{n}]" for n, held in enumerate(list(holder)) if held is value), "")
    if type(holder) is CellType:
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
