"""The life of a site, as one table.

**What the table is about.** A site always has a name, hosts and a configuration; what comes and
goes is the *code* behind it. A state says what a visitor of the site meets:

- ``cold``: nothing is loaded; the next request starts a load and waits for it.
- ``loading``: the first code is on its way up; requests wait for it together.
- ``ready``: a generation answers. It stays ``ready`` while a newer one is built beside it,
  whatever becomes of that one: building is no state, because no visitor can tell.
- ``failed``: there is no code that works; visitors get the error page, and after a back-off one
  of them starts the next attempt.
- ``closed``: the site has left the gateway for good, or the gateway is stopping. Final.

**Events** are what happened, not what somebody wants: ``load`` (an attempt began and there is no
generation to keep), ``loaded`` (an attempt brought up a generation), ``failed`` (it did not),
``unload`` (the code was idle, or its memory was needed), ``close``. A reload of a ``ready`` site
therefore needs no event of its own: it ends in ``loaded`` (the new generation has taken over) or in
``failed`` (the old one goes on), both back to ``ready``.

**Why a table.** A pair that is missing cannot happen, and `advance` raises for it: a bug shows
where it is made instead of as a site that hangs. The same table draws the diagram of the
documentation (`mermaid`), so that the two cannot differ. A new state is a new row here first.

**What is not in it.** The machine knows nothing of tasks, generations or requests in flight: it is
the part of `gateway.sites.site.Site` that can be read at a glance. Nor does it need a lock: only
the event loop's thread calls `advance`, and no transition awaits.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """What a visitor of a site meets; the values are those of ``GET /_health``."""

    COLD = "cold"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    CLOSED = "closed"


class Event(StrEnum):
    """What can happen to a site."""

    LOAD = "load"
    LOADED = "loaded"
    FAILED = "failed"
    UNLOAD = "unload"
    CLOSE = "close"


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        (State.COLD, Event.LOAD): State.LOADING,
        (State.LOADING, Event.LOADED): State.READY,
        (State.LOADING, Event.FAILED): State.FAILED,
        (State.FAILED, Event.LOAD): State.LOADING,
        (State.READY, Event.LOADED): State.READY,
        (State.READY, Event.FAILED): State.READY,
        (State.READY, Event.UNLOAD): State.COLD,
        (State.COLD, Event.CLOSE): State.CLOSED,
        (State.LOADING, Event.CLOSE): State.CLOSED,
        (State.READY, Event.CLOSE): State.CLOSED,
        (State.FAILED, Event.CLOSE): State.CLOSED,
        # Stopping the gateway closes again, with less patience, what a reload has just removed.
        (State.CLOSED, Event.CLOSE): State.CLOSED,
    }
)


class IllegalTransitionError(RuntimeError):
    """Something happened to a site that cannot happen in its state: a bug in the gateway."""


def advance(state: State, event: Event) -> State:
    """The state that follows ``state`` once ``event`` has happened.

    Raises `IllegalTransitionError` for a pair that is not in `TRANSITIONS`.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(f"{event} cannot happen to a site that is {state}") from None


def mermaid() -> str:
    """The table as a mermaid state diagram, for the documentation."""
    rows = [f"    {state} --> {after}: {event}" for (state, event), after in TRANSITIONS.items()]
    return "\n".join(
        ["stateDiagram-v2", f"    [*] --> {State.COLD}", *rows, f"    {State.CLOSED} --> [*]"]
    )
