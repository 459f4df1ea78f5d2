from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from gateway.execution.loop_queue import _FEW, LoopQueue

pytestmark = pytest.mark.anyio

DEADLINE = 30.0


def rest_amid(loop_queue: LoopQueue, others: Callable[[], None], seconds: float) -> bool:
    """Call ``others`` on another thread while the loop rests; whether it rested to the end."""
    begun = threading.Event()

    def meanwhile() -> None:
        assert begun.wait(DEADLINE)
        others()

    thread = threading.Thread(target=meanwhile)
    thread.start()

    def worth() -> bool:
        begun.set()
        return True

    started = time.monotonic()
    loop_queue.rest(seconds, worth)
    lasted = time.monotonic() - started
    thread.join()
    return lasted >= seconds * 0.9


async def test_posts_are_delivered_in_order() -> None:
    loop_queue = LoopQueue(asyncio.get_running_loop())
    got: list[int] = []
    done = asyncio.Event()

    def post() -> None:
        for number in range(100):
            loop_queue.post(lambda number=number: got.append(number))  # type: ignore[misc]
        loop_queue.post(done.set)

    threading.Thread(target=post).start()
    await asyncio.wait_for(done.wait(), DEADLINE)
    assert got == list(range(100))


async def test_a_rest_lasts_though_a_few_patient_calls_come() -> None:
    loop_queue = LoopQueue(asyncio.get_running_loop())
    got: list[int] = []

    def post() -> None:
        for number in range(_FEW - 1):
            loop_queue.post(lambda number=number: got.append(number), patient=True)  # type: ignore[misc]

    assert rest_amid(loop_queue, post, seconds=0.2)
    await asyncio.sleep(0)
    assert got == list(range(_FEW - 1)), "they are delivered when it ends"


@pytest.mark.parametrize("reason", ["one that is not patient", "many", "woken"])
async def test_a_rest_ends_when_there_is_reason(reason: str) -> None:
    loop_queue = LoopQueue(asyncio.get_running_loop())
    got: list[int] = []

    def post() -> None:
        if reason == "woken":
            loop_queue.wake()
            return
        for number in range(_FEW if reason == "many" else 1):
            loop_queue.post(lambda number=number: got.append(number), patient=reason == "many")  # type: ignore[misc]

    assert not rest_amid(loop_queue, post, seconds=DEADLINE)
    await asyncio.sleep(0)
    assert len(got) == {"one that is not patient": 1, "many": _FEW, "woken": 0}[reason]


async def test_what_was_posted_before_is_not_kept_waiting() -> None:
    loop_queue = LoopQueue(asyncio.get_running_loop())
    got: list[int] = []
    loop_queue.post(lambda: got.append(1), patient=True)
    loop_queue.rest(DEADLINE, lambda: True)
    assert got == [1]


async def test_it_does_not_rest_for_nothing() -> None:
    loop_queue = LoopQueue(asyncio.get_running_loop())
    loop_queue.wake()  # before the rest: it is asked again
    loop_queue.rest(DEADLINE, lambda: False)
