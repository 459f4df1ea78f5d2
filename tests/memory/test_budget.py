"""Loads wait for memory, in order, and not for ever."""

from __future__ import annotations

import asyncio

import pytest

from gateway.memory.budget import PATIENCE, Budget

pytestmark = pytest.mark.anyio

MB = 1 << 20


class Process:
    """Has the memory that a test says, of which 50 MB are its own."""

    def __init__(self, limit: int, patience: float = PATIENCE) -> None:
        self.used = 50 * MB
        self.budget = Budget(limit * MB, memory=lambda: self.used, patience=patience, look=0.001)
        self.entered: list[str] = []

    async def load(self, name: str, end: asyncio.Event) -> None:
        async with self.budget.room():
            self.entered.append(name)
            await end.wait()


async def rest() -> None:
    await asyncio.sleep(0.02)


async def test_without_a_limit_nobody_waits() -> None:
    process, end = Process(0), asyncio.Event()
    process.used = 10_000 * MB
    loads = [asyncio.create_task(process.load(str(n), end)) for n in range(3)]
    await rest()
    assert len(process.entered) == 3
    end.set()
    await asyncio.gather(*loads)


async def test_what_loads_counts_and_what_waits_is_told() -> None:
    process, end = Process(100), asyncio.Event()
    process.used = 90 * MB
    assert process.budget.learn(4) == 10 * MB
    assert process.budget.excess == -10 * MB
    loads = [asyncio.create_task(process.load(name, end)) for name in "abc"]
    await rest()
    assert process.entered == ["a"]
    assert process.budget.excess == 20 * MB, "two wait"
    process.used = 80 * MB
    await rest()
    assert process.entered == ["a", "b"], "who came first goes first"
    process.used = 70 * MB
    end.set()
    await asyncio.gather(*loads)
    assert process.entered == ["a", "b", "c"]
    assert process.budget.excess == -30 * MB


async def test_patience_ends_with_a_load_all_the_same() -> None:
    process, end = Process(40, patience=0.05), asyncio.Event()
    end.set()
    await asyncio.wait_for(asyncio.gather(*(process.load(name, end) for name in "ab")), 5)
    assert sorted(process.entered) == ["a", "b"]


async def test_who_leaves_while_waiting_leaves_nothing() -> None:
    process, end = Process(40), asyncio.Event()
    load = asyncio.create_task(process.load("a", end))
    await rest()
    load.cancel()
    await asyncio.wait({load})
    assert process.budget.excess == 10 * MB
    process.used = 20 * MB
    end.set()
    await asyncio.wait_for(process.load("b", end), 5)
