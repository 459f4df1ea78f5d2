"""What belongs to a thread does not pass from one site to another on a thread of the pool."""

from __future__ import annotations

import asyncio
import decimal
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.execution.pool import Pool, Threads
from gateway.namespace import installed
from gateway.namespace.cwd import own_folder
from gateway.sites.reporting import Reporter

DEADLINE = 30.0


def umask() -> int:
    found = os.umask(0o022)
    os.umask(found)
    return found


def private_umask() -> bool:
    """Tell whether the system lets a thread have its own."""
    with ThreadPoolExecutor(1) as threads:
        return sys.platform == "linux" and threads.submit(own_folder).result()


Run = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def both() -> Iterator[tuple[Run, Run]]:
    """Call functions for two sites, on the same thread."""
    with installed():
        pool = Pool(2)
        sites = [Threads(Reporter(name, {}), pool) for name in ("a", "b")]
        assert len({site.submit(threading.get_ident).result(DEADLINE) for site in sites}) == 1
        yield tuple(  # type: ignore[misc]
            lambda function, site=site: site.submit(function).result(DEADLINE) for site in sites
        )
        for site in sites:
            site.shutdown()
        pool.close()


@pytest.mark.parametrize(
    ("change", "ask"),
    [
        (lambda: sys.settrace(nothing), sys.gettrace),
        (lambda: sys.setprofile(nothing), sys.getprofile),
        (lambda: sys.set_asyncgen_hooks(nothing, nothing), lambda: tuple(sys.get_asyncgen_hooks())),
        (
            lambda: sys.set_coroutine_origin_tracking_depth(7),
            sys.get_coroutine_origin_tracking_depth,
        ),
        (
            lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]),
            lambda: signal.pthread_sigmask(signal.SIG_BLOCK, []),
        ),
    ],
    ids=[
        "trace function",
        "profile function",
        "hooks for generators",
        "origins of coroutines",
        "signal mask",
    ],
)
def test_it_is_put_back_after_each_request(
    both: tuple[Run, Run], change: Callable[[], Any], ask: Callable[[], Any]
) -> None:
    a, b = both

    def change_twice() -> Any:
        change()
        change()
        return ask()

    before = a(ask)
    assert a(change_twice) != before
    assert [b(ask), a(ask)] == [before, before]


@pytest.mark.skipif(not private_umask(), reason="threads share one umask here")
def test_the_umask_is_put_back_after_each_request(both: tuple[Run, Run]) -> None:
    a, b = both
    before = umask()
    a(lambda: os.umask(0o007))
    assert [a(umask), b(umask), umask()] == [before, before, before]


def test_the_profile_function_sees_nothing_of_the_gateway(both: tuple[Run, Run]) -> None:
    a, _ = both
    seen: list[Any] = []

    def profile() -> None:
        sys.setprofile(lambda frame, event, arg: seen.append((event, frame.f_code.co_name)))
        nothing()
        sys.setprofile(None)

    a(profile)
    called = []
    for event, name in seen:
        if event == "call":
            called.append(name)
        elif event == "return":
            assert called.pop() == name, "it sees the return from what it has not seen called"
    assert ("call", "nothing") in seen
    assert "_perform" not in {name for _, name in seen}


def test_attributes_of_the_thread_stay_with_their_site(both: tuple[Run, Run]) -> None:
    a, b = both

    def change() -> None:
        thread = threading.current_thread()
        thread.name = "of a"
        thread.user = "somebody"  # type: ignore[attr-defined]

    def ask() -> tuple[str, Any]:
        thread = threading.current_thread()
        return thread.name, getattr(thread, "user", None)

    before = a(ask)
    a(change)
    assert b(ask) == before
    assert a(ask) == ("of a", "somebody")
    assert b(ask) == before


def test_an_event_loop_stays_with_its_site(both: tuple[Run, Run]) -> None:
    a, b = both

    def loop() -> asyncio.AbstractEventLoop:
        try:
            return asyncio.get_event_loop()
        except RuntimeError:
            asyncio.set_event_loop(asyncio.new_event_loop())
            return asyncio.get_event_loop()

    def run() -> int:
        return asyncio.run(asyncio.sleep(0, 5))

    of_a, of_b = a(loop), b(loop)
    assert of_a is not of_b
    assert [a(loop), a(loop), b(loop)] == [of_a, of_a, of_b]
    assert [a(run), b(loop)] == [5, of_b]
    assert a(loop) not in (of_a, of_b)  # asyncio.run() leaves none
    for each in (of_a, of_b, a(loop)):
        each.close()


def test_the_context_of_decimal_is_that_of_the_seat(both: tuple[Run, Run]) -> None:
    a, b = both
    before = b(lambda: decimal.getcontext().prec)
    a(lambda: setattr(decimal.getcontext(), "prec", 3))
    assert [a(lambda: decimal.getcontext().prec), b(lambda: decimal.getcontext().prec)] == [
        3,
        before,
    ]


def nothing(*args: Any) -> None:
    pass
