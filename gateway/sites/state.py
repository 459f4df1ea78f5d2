"""The life of a site, as one table.

**States.** A site always has a name, hosts and a configuration; only the *code* behind it comes
and goes. The state tells what a visitor of the site meets:

- ``cold``: nothing is loaded; the next request starts a load and waits for it.
- ``loading``: the first code is being loaded; requests wait for it together.
- ``ready``: a generation answers. The site stays ``ready`` while a newer generation is built
  beside it, whether that one comes up or not. Building is no state, because no visitor notices it.
- ``failed``: there is no code that works; visitors get the error page, and after a back-off one
  of them starts the next attempt.
- ``closed``: the site has left the gateway for good, or the gateway is stopping. Final.

**Events** are what has happened, not what somebody wants: ``load`` (an attempt began and there is
no generation to keep), ``loaded`` (an attempt brought up a generation), ``failed`` (it did not),
``unload`` (the code was idle, or its memory was needed), ``close``. A reload of a ``ready`` site
therefore needs no event of its own. It ends in ``loaded`` (the new generation has taken over) or in
``failed`` (the old one goes on), and both lead back to ``ready``.

**Why a table.** A pair that is missing cannot happen, and `advance` raises for it. So a bug shows
where it is made, and not later as a site that hangs. The diagram in the documentation is drawn from
the table (`mermaid`), so that the two cannot differ. A new state begins with a new row here.

**What it leaves out.** The table knows nothing of tasks, generations or requests in flight, which
`gateway.sites.site.Site` has. It needs no lock, because only the thread of the event loop calls
`advance`, and no transition awaits.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """The state of a site; the values are those of ``GET /_health``."""

    COLD = "cold"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    CLOSED = "closed"


class Event(StrEnum):
    """An event in the life of a site."""

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
        # A gateway that stops closes again, with less patience, the sites that a reload removed.
        (State.CLOSED, Event.CLOSE): State.CLOSED,
    }
)


class IllegalTransitionError(RuntimeError):
    """An event cannot happen to a site in its state: this is a bug in the gateway."""


def advance(state: State, event: Event) -> State:
    """Return the state that follows ``state`` when ``event`` has happened.

    Raises `IllegalTransitionError` for a pair that is not in `TRANSITIONS`.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(f"{event} cannot happen to a site that is {state}") from None


def mermaid() -> str:
    """Return the table as a mermaid state diagram, for the documentation."""
    rows = [f"    {state} --> {after}: {event}" for (state, event), after in TRANSITIONS.items()]
    return "\n".join(
        ["stateDiagram-v2", f"    [*] --> {State.COLD}", *rows, f"    {State.CLOSED} --> [*]"]
    )
