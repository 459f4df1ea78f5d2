"""``doctest``: examples print, and are shown what they evaluate to."""

from __future__ import annotations

from .worlds import Program

FILES = {
    "shop.py": '''
        """A shop.

        >>> total([1, 2])
        3
        >>> print("a", end="")
        a
        >>> import late
        >>> late.value
        5
        >>> fail()
        Traceback (most recent call last):
            ...
        ValueError: no
        >>> wrong()
        7
        """
        def total(numbers):
            """
            >>> total([])
            0
            """
            return sum(numbers)
        def fail(): raise ValueError("no")
        def wrong(): return 8
        ''',
    "late.py": "value = 5",
    "text.txt": "\n>>> import shop\n>>> shop.total([4])\n4\n",
}


def test_a_module(program: Program) -> None:
    assert program(
        FILES,
        """
        import contextlib, doctest, io, shop
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            ran = doctest.testmod(shop)
        shown = out.getvalue()
        result = [ran.failed, ran.attempted, "Got:" in shown, shown.count(" 8\\n")]
        """,
    ) == [1, 7, True, 1]


def test_a_file_and_a_suite(program: Program) -> None:
    assert program(
        FILES,
        """
        import doctest, io, unittest
        ran = doctest.testfile("text.txt")
        suite = doctest.DocTestSuite("shop")
        outcome = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
        result = [list(ran)[:2], outcome.testsRun, len(outcome.failures)]
        """,
    ) == [[0, 2], 2, 1]


def test_main(program: Program) -> None:
    assert program(
        {},
        '''
        """
        >>> 1 + 1
        2
        >>> name
        'here'
        """
        import doctest
        name = "here"
        result = list(doctest.testmod())[:2]
        ''',
    ) == [0, 2]
