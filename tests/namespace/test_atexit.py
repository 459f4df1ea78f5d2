"""``atexit`` and ``signal``: recorded, and run when the namespace is closed."""

from __future__ import annotations

import signal

from gateway.namespace import Namespace

from .worlds import Program, load


def test_register(program: Program) -> None:
    assert program(
        {},
        """
        import atexit
        calls = []
        @atexit.register
        def first(): calls.append("first")
        atexit.register(calls.append, "second")
        atexit.register(calls.append, "gone")
        atexit.register(f := lambda *a, **k: calls.append([a, k]), 1, x=2)
        atexit.register(print)
        atexit.unregister(print)
        result = [atexit._ncallbacks() >= 4, atexit.unregister(print)]
        try:
            atexit.register(3)
        except TypeError:
            result.append("refused")
        atexit._run_exitfuncs()
        result += [calls, first.__name__]
        """,
    ) == [True, None, "refused", [[[1], {"x": 2}], "gone", "second", "first"], "first"]


def test_closing_runs_them(hooks: None) -> None:
    space = Namespace("a")
    variables = load(
        space,
        """
        import atexit
        calls = []
        def fail(): raise ValueError("late")
        def leave(): raise SystemExit(3)
        def late():
            import decimal, late_module_that_is_missing
        for n in range(2):
            atexit.register(calls.append, n)
        atexit.register(fail)
        atexit.register(leave)
        atexit.register(late)
        """,
    )
    errors = space.close()
    assert [type(error) for error in errors] == [ModuleNotFoundError, SystemExit, ValueError]
    assert variables["calls"] == [1, 0]
    assert space.close() == []


def test_two_namespaces(hooks: None) -> None:
    spaces = [Namespace("a"), Namespace("b")]
    register = "import atexit\ncalls = []\natexit.register(calls.append, 1)"
    one, two = (load(space, register) for space in spaces)
    spaces[0].close()
    assert (one["calls"], two["calls"]) == ([1], [])
    spaces[1].close()
    assert two["calls"] == [1]


def test_signal(program: Program) -> None:
    assert program(
        {},
        """
        import signal
        def handler(number, frame): pass
        before = signal.signal(signal.SIGTERM, handler)
        result = [
            before == signal.SIG_DFL, signal.getsignal(signal.SIGTERM) is handler,
            signal.signal(signal.SIGTERM, signal.SIG_IGN) is handler,
            signal.getsignal(15) == signal.SIG_IGN, type(signal.SIGTERM).__name__,
            signal.signal(signal.SIGRTMIN + 1, signal.SIG_DFL) == signal.SIG_DFL,
        ]
        for bad in ((999, handler), (signal.SIGTERM, 3.5), ("x", handler)):
            try:
                signal.signal(*bad)
                result.append("fine")
            except (ValueError, TypeError) as exc:
                result.append(type(exc).__name__)
        """,
    ) == [True, True, True, True, "Signals", True, "ValueError", "TypeError", "TypeError"]


def test_signals_of_the_process_stay(hooks: None) -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    space = Namespace("a")
    load(
        space,
        """
        import signal
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda *args: 1 / 0)
        signal.set_wakeup_fd(-1)
        """,
    )
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before
    space.close()


def test_expected_difference_timers_do_not_start(program: Program) -> None:
    """With its handler only recorded, the signal of a timer would end the process."""
    assert program(
        {},
        """
        import signal, threading
        done = threading.Event()
        signal.signal(signal.SIGALRM, lambda number, frame: done.set())
        result = [signal.alarm(0) >= 0, list(signal.setitimer(signal.ITIMER_REAL, 0.01))]
        result.append(done.wait(0.2))
        """,
    ) == [True, [0.0, 0.0], program.either(plain=True, namespace=False)]


def test_raising_a_signal_calls_the_handler(program: Program) -> None:
    assert program(
        {},
        """
        import signal
        calls = []
        signal.signal(signal.SIGUSR1, lambda number, frame: calls.append(int(number)))
        signal.raise_signal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.raise_signal(signal.SIGUSR1)
        result = calls == [int(signal.SIGUSR1)]
        """,
    )
