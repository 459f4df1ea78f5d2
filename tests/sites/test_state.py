"""The life of a site, as a table."""

from __future__ import annotations

import itertools

import pytest

from gateway.sites.state import TRANSITIONS, Event, IllegalTransitionError, State, advance, mermaid

ILLEGAL = sorted(set(itertools.product(State, Event)) - TRANSITIONS.keys())


@pytest.mark.parametrize(("state", "event"), ILLEGAL)
def test_what_cannot_happen_raises(state: State, event: Event) -> None:
    with pytest.raises(IllegalTransitionError, match=f"{event} cannot happen .* {state}"):
        advance(state, event)


def test_a_site_comes_up() -> None:
    assert advance(advance(State.COLD, Event.LOAD), Event.LOADED) is State.READY


def test_a_failed_site_can_be_tried_again() -> None:
    assert advance(advance(State.LOADING, Event.FAILED), Event.LOAD) is State.LOADING


@pytest.mark.parametrize("event", [Event.LOADED, Event.FAILED])
def test_a_ready_site_stays_ready_whatever_becomes_of_a_reload(event: Event) -> None:
    assert advance(State.READY, event) is State.READY


@pytest.mark.parametrize("state", State)
def test_every_site_can_be_closed_and_stays_closed(state: State) -> None:
    assert advance(state, Event.CLOSE) is State.CLOSED
    assert {after for (before, _), after in TRANSITIONS.items() if before is State.CLOSED} == {
        State.CLOSED
    }


def test_every_state_can_be_reached() -> None:
    assert {State.COLD, *TRANSITIONS.values()} == set(State)


def test_the_diagram_has_an_arrow_for_each_transition() -> None:
    arrows = [line.strip() for line in mermaid().splitlines() if ":" in line]
    assert arrows == [f"{a} --> {b}: {event}" for (a, event), b in TRANSITIONS.items()]
