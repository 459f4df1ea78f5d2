"""What belongs to a thread of the pool, and must not pass from one site to another on it.

- Trace and profile functions, the signal mask and the hooks for asynchronous generators are put
  back as soon as the code that has changed them is off the thread. The functions that change them
  note before what there was (`note`), so nothing is compared where nothing has been changed.
- The attributes of the ``Thread`` and the event loop stay for the code that has set them. They are
  exchanged when the thread turns to another seat, like the objects of C code in the dictionary of
  ``PyThreadState_GetDict``: two versions of a package may use the same key there. These are
  exchanged as soon as two versions are loaded (`exchange`).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

divided = False
"""True as soon as threads have to exchange objects of C code at all."""
_packages: tuple[str, ...] = ()
_of_thread = threading.local()


class Thread(threading.Thread):
    """A thread that notices when its attributes are set."""

    __slots__ = ("_gateway_state",)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        state: State | None = getattr(self, "_gateway_state", None)
        if state is not None:
            state.changed = True


@dataclass(slots=True)
class Taken:
    """What was taken from a thread."""

    objects: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    loop: Any = None


class State:
    """What code has changed on one thread. It is made and used on that thread."""

    def __init__(self) -> None:
        self.noted: dict[object, Callable[[], object]] = {}
        """Functions that put back what was changed; empty nearly always."""
        self.changed = False
        """True if there may be attributes or an event loop to take."""
        self.own_umask = False
        """True if the umask is that of the thread, not of the process."""
        self.loop: Any = None
        self.set_loop: Callable[[Any], object] = _nothing
        thread = threading.current_thread()
        self._plain = dict(vars(thread))
        if isinstance(thread, Thread):
            thread._gateway_state = self

    def put_back(self) -> None:
        """Put back what was noted."""
        while self.noted:
            _, put_back = self.noted.popitem()
            put_back()

    def take(self) -> Taken | None:
        """Take from the thread what code has set on it; ``None`` if that is nothing."""
        taken = Taken()
        if divided:
            taken.objects = _take_objects()
        if self.changed:
            self.changed = False
            attributes = vars(threading.current_thread())
            taken.attributes = {
                name: value
                for name, value in attributes.items()
                if name not in self._plain or self._plain[name] is not value
            }
            for name in taken.attributes:
                del attributes[name]
            attributes.update(self._plain)
            if self.loop is not None:
                taken.loop, self.loop = self.loop, None
                self.set_loop(None)
        return taken if taken.objects or taken.attributes or taken.loop is not None else None

    def put(self, taken: Taken | None) -> None:
        """Give the thread what `take` took from it."""
        if taken is None:
            return
        if taken.objects:
            _objects().update(taken.objects)
        vars(threading.current_thread()).update(taken.attributes)
        if taken.loop is not None:
            self.loop = taken.loop
            self.set_loop(taken.loop)
        self.changed = bool(taken.attributes) or taken.loop is not None


def of_this_thread() -> State:
    """Return the state of the calling thread, which is kept from now on."""
    state: State | None = getattr(_of_thread, "state", None)
    if state is None:
        state = _of_thread.state = State()
    return state


def note(key: object, make: Callable[[], Callable[[], object]]) -> None:
    """Note that something of the calling thread is about to change, if its state is kept.

    ``make`` returns a function that puts it back.
    """
    state: State | None = getattr(_of_thread, "state", None)
    if state is not None and key not in state.noted:
        state.noted[key] = make()


def note_loop(loop: Any, set_loop: Callable[[Any], object]) -> None:
    """Note that ``loop`` is the event loop of the calling thread now, as ``set_loop`` sets it."""
    state: State | None = getattr(_of_thread, "state", None)
    if state is not None and state.loop is not loop:
        state.loop, state.set_loop = loop, set_loop
        state.changed = True


def put_back() -> None:
    """Put back what was noted on the calling thread."""
    state: State | None = getattr(_of_thread, "state", None)
    if state is not None:
        state.put_back()


def exchange(package: str) -> None:
    """Let threads exchange the objects of a package, from now on until the process ends.

    ``package`` is how the names of the modules begin that define their classes (``name.``).
    """
    global divided, _packages
    if package not in _packages:
        _packages += (package,)
    divided = True


def _take_objects() -> dict[str, Any]:
    objects = _objects()
    taken = {
        name: value
        for name, value in list(objects.items())
        if str(type(value).__module__).startswith(_packages)
    }
    for name in taken:
        del objects[name]
    return taken


def _objects() -> dict[str, Any]:
    get = ctypes.pythonapi.PyThreadState_GetDict
    get.restype = ctypes.c_void_p  # a borrowed reference, which py_object would take for its own
    objects: dict[str, Any] = ctypes.cast(get(), ctypes.py_object).value
    return objects


def _nothing(_: Any) -> None:
    pass
