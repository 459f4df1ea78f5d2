"""What is told of what was seen, and for how long."""

from __future__ import annotations

from collections.abc import Hashable

from gateway.cluster.sightings import AVOIDED, KEPT, Condition, Sightings
from tests.conftest import Clock


def test_what_has_passed_is_told_for_a_while(clock: Clock) -> None:
    sightings = Sightings(clock)
    assert sightings.condition() is Condition.OK
    assert sightings.condition(troubled=True) is Condition.DEGRADED
    sightings.note("it stood still", grave=False, seconds=3)
    assert sightings.condition() is Condition.DEGRADED
    (told,) = sightings.document()
    assert told["what"] == "it stood still"
    assert told["since"] < told["until"]
    clock.now += KEPT - 1
    assert sightings.condition() is Condition.DEGRADED
    clock.now += 1
    assert (sightings.condition(), sightings.document()) == (Condition.OK, [])


def test_what_is_grave_is_avoided_for_a_shorter_while(clock: Clock) -> None:
    sightings = Sightings(clock)
    sightings.note("it stood still", grave=True, seconds=12)
    assert sightings.condition() is Condition.STALLED
    clock.now += AVOIDED
    assert sightings.condition() is Condition.DEGRADED
    assert len(sightings.document()) == 1


def test_what_lasts_is_told_until_it_has_passed(clock: Clock) -> None:
    sightings = Sightings(clock)
    seen: dict[Hashable, tuple[str, bool]] = {1: ("a place is lost", True)}
    assert sightings.follow(seen) == ["a place is lost"]
    clock.now += 10 * KEPT
    assert sightings.follow(seen) == []
    assert sightings.condition() is Condition.STALLED
    assert sightings.document()[0]["until"] is None
    assert sightings.follow({}) == []
    assert sightings.document()[0]["until"] is not None
    clock.now += AVOIDED
    assert sightings.condition() is Condition.DEGRADED


def test_what_is_kept_is_bounded(clock: Clock) -> None:
    sightings = Sightings(clock)
    for number in range(1000):
        sightings.note(f"{number}", grave=False, seconds=1)
    assert [told["what"] for told in sightings.document()][-1] == "999"
    assert len(sightings.document()) == 20


def test_who_sees_nothing_leaves_alone_what_others_see(clock: Clock) -> None:
    sightings = Sightings(clock)
    assert sightings.follow({1: ("a place is lost", False)}) == ["a place is lost"]
    assert sightings.follow({1: ("3 have ended", False)}, by="another") == ["3 have ended"]
    clock.now += 1
    assert sightings.follow({1: ("4 have ended", False)}, by="another") == []
    assert sightings.follow({}) == []
    told = [(each["what"], each["until"] is None) for each in sightings.document()]
    assert told == [("a place is lost", False), ("4 have ended", True)]
