from __future__ import annotations

import gc

import pytest

from gateway.memory.switch import held


def test_it_is_held_until_the_last_holder_leaves() -> None:
    assert gc.isenabled()
    with held():
        with held():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_runs_again_after_an_error() -> None:
    with pytest.raises(LookupError), held():
        raise LookupError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with held():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_stays_is_old_afterwards() -> None:
    def is_old(value: object) -> bool:
        return any(value is each for each in gc.get_objects(generation=2))

    with held():
        young = [[]]
    assert not is_old(young)
    with held(staying=True):
        with held():
            old = [[]]
        assert not is_old(old)
    assert is_old(old)
    assert gc.get_freeze_count() == 0
