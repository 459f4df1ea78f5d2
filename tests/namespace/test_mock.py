"""``unittest`` and ``unittest.mock``."""

from __future__ import annotations

from .worlds import Program

SHOP = {
    "shop/__init__.py": "",
    "shop/tax.py": "import os, time\nrate = 19\ndef now(): return time.time()\n"
    "def home(): return os.environ['HOME']\nclass Office:\n    def open(self): return 'open'",
}


def test_patch_by_dotted_name(program: Program) -> None:
    assert program(
        SHOP,
        """
        from unittest.mock import patch
        with patch("shop.tax.rate", 7), patch("shop.tax.Office.open") as opened:
            from shop import tax
            opened.return_value = "shut"
            result = [tax.rate, tax.Office().open(), opened.call_count]
        result += [tax.rate, tax.Office().open()]
        with patch.object(tax, "rate", 1):
            result.append(tax.rate)
        with patch.multiple("shop.tax", rate=2, extra=3, create=True):
            result += [tax.rate, tax.extra]
        result.append(hasattr(tax, "extra"))
        """,
    ) == [7, "shut", 1, 19, "open", 1, 2, 3, False]


def test_patch_what_is_not_there(program: Program) -> None:
    assert program(
        SHOP,
        """
        from unittest.mock import patch
        result = []
        for name in ("shop.tax.gone", "shop.gone.x", "gone.x"):
            try:
                patch(name).start()
            except (AttributeError, ImportError) as exc:
                result.append(type(exc).__name__)
        """,
    ) == ["AttributeError", "AttributeError", "ModuleNotFoundError"]


def test_patch_the_environment(program: Program) -> None:
    assert program(
        SHOP,
        """
        import os, os.path, subprocess
        from unittest.mock import patch
        from shop import tax
        def child():
            shell = ["/bin/sh", "-c", "echo $HOME"]
            return subprocess.run(shell, capture_output=True, text=True).stdout
        with patch.dict(os.environ, {"HOME": "/patched"}):
            result = [os.environ["HOME"], tax.home(), os.path.expanduser("~"), child().strip()]
        with patch.dict(os.environ, clear=True):
            result.append(len(os.environ))
        with patch.dict("os.environ", HOME="/again"):
            result.append(os.getenv("HOME"))
        result += [os.environ["HOME"], child().strip()]
        """,
    ) == [
        "/patched",
        "/patched",
        "/patched",
        "/patched",
        0,
        "/again",
        "/home/nobody",
        "/home/nobody",
    ]


def test_replace_the_environment(program: Program) -> None:
    """Another mapping in its place is what everybody reads, also shared code."""
    assert (
        program(
            SHOP,
            """
        import os, os.path
        from unittest.mock import patch
        from shop import tax
        with patch("os.environ", {"HOME": "/patched"}):
            result = [tax.home(), os.getenv("HOME"), os.path.expanduser("~")]
            result.append(os.path.expandvars("$HOME"))
        result += [tax.home(), os.path.expanduser("~")]
        """,
        )
        == ["/patched"] * 4 + ["/home/nobody"] * 2
    )


def test_patch_time(program: Program) -> None:
    assert program(
        SHOP,
        """
        import time
        from unittest.mock import patch
        from shop import tax
        with patch("time.time", return_value=5.0):
            result = [tax.now(), time.time()]
        result.append(time.time() > 5)
        """,
    ) == [5.0, 5.0, True]


def test_expected_difference_shared_code_is_not_patched(program: Program) -> None:
    """A patch of a module's attribute stays with the program: shared code does not see it."""
    assert program(
        {},
        """
        import email.utils
        from unittest.mock import patch
        with patch("time.time", return_value=5.0):
            result = email.utils.formatdate().endswith("1970 00:00:05 -0000")
        """,
    ) is program.either(plain=True, namespace=False)


def test_patch_builtins(program: Program) -> None:
    assert program(
        {
            "reader.py": "def read(path):\n    with open(path) as file: return file.read()\n"
            "def ask(): return input()"
        },
        """
        import builtins, reader
        from unittest.mock import mock_open, patch
        with patch("builtins.open", mock_open(read_data="mocked")):
            result = [reader.read("/gone"), open("/gone").read()]
        nine = patch.object(builtins, "len", lambda x: 9)
        with patch("builtins.input", return_value="typed"), nine:
            result += [reader.ask(), len([])]
        with patch("reader.open", mock_open(read_data="near"), create=True):
            result.append(reader.read("/gone"))
        result += [open is builtins.open, len([])]
        """,
    ) == ["mocked", "mocked", "typed", 9, "near", True, 0]


def test_patch_sys(program: Program) -> None:
    assert program(
        {"tool.py": "import sys\ndef args(): return sys.argv[1:]"},
        """
        import sys, tool
        from unittest.mock import patch
        with patch.object(sys, "argv", ["x", "--y"]), patch("sys.platform", "plan9"):
            result = [tool.args(), sys.platform == "plan9"]
        with patch("sys.path", ["/nowhere"]):
            try:
                import late
            except ImportError:
                result.append(sys.path)
        result += [tool.args(), sys.platform != "plan9"]
        """,
    ) == [["--y"], True, ["/nowhere"], [], True]


def test_patch_functions_of_os(program: Program) -> None:
    """``os`` is bound to the program, so its functions see each other's patches."""
    assert program(
        {},
        """
        import os
        from unittest.mock import patch
        with patch("os.mkdir") as mkdir, patch("os.path.exists", return_value=True):
            os.makedirs("/a/b/c")
        result = [mkdir.call_count]
        with patch("os.getcwd", return_value="/elsewhere"):
            result.append(os.getcwd())
        """,
    ) == [1, "/elsewhere"]


def test_autospec_and_sentinels(program: Program) -> None:
    assert program(
        SHOP,
        """
        import copy, inspect, pickle
        from unittest.mock import ANY, MagicMock, call, create_autospec, sentinel
        from shop import tax
        fake = create_autospec(tax.Office)
        fake().open.return_value = 3
        result = [fake().open(), isinstance(fake(), tax.Office), create_autospec(tax).rate == ANY]
        try:
            create_autospec(tax.now)(1)
        except TypeError:
            result.append("signature")
        mock = MagicMock()
        mock.a.b(1, x=2)
        result.append(mock.mock_calls == [call.a.b(1, x=2)])
        result.append(pickle.loads(pickle.dumps(sentinel.thing)) is sentinel.thing)
        """,
    ) == [3, True, True, "signature", True, True]


def test_async_mocks(program: Program) -> None:
    assert program(
        {"net.py": "async def fetch(): return 'real'"},
        """
        import asyncio, net
        from unittest.mock import AsyncMock, patch
        async def main():
            with patch("net.fetch", return_value="mocked") as fetch:
                found = [await net.fetch(), isinstance(fetch, AsyncMock), fetch.await_count]
            return [*found, await net.fetch()]
        result = asyncio.run(main())
        """,
    ) == ["mocked", True, 1, "real"]


def test_test_cases(program: Program) -> None:
    assert program(
        {
            "tests/__init__.py": "",
            "tests/test_it.py": """
                import logging, os, sys, unittest, warnings
                class Case(unittest.TestCase):
                    def test_logs(self):
                        with self.assertLogs("shop", "INFO") as caught:
                            logging.getLogger("shop").info("hello")
                        self.assertEqual(caught.output, ["INFO:shop:hello"])
                    def test_no_logs(self):
                        with self.assertNoLogs("shop"):
                            logging.getLogger("other").warning("x")
                    def test_warns(self):
                        with self.assertWarns(UserWarning) as caught:
                            warnings.warn("careful")
                        self.assertEqual(caught.lineno, 13)
                    def test_subtests(self):
                        for n in range(2):
                            with self.subTest(n=n):
                                self.assertLess(n, 2)
                    @unittest.skip("no")
                    def test_skipped(self): pass
                    @unittest.expectedFailure
                    def test_fails(self): self.fail()
                class Async(unittest.IsolatedAsyncioTestCase):
                    async def test_one(self):
                        import late
                        self.assertEqual(late.x, 1)
                """,
            "late.py": "x = 1",
        },
        """
        import io, os, unittest
        here = os.path.dirname(os.path.abspath(__file__))
        suite = unittest.defaultTestLoader.discover(os.path.join(here, "tests"), top_level_dir=here)
        ran = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
        result = [ran.testsRun >= 6, len(ran.skipped), len(ran.expectedFailures)]
        result.append([text for _, text in ran.failures + ran.errors])
        names = unittest.defaultTestLoader.loadTestsFromName("tests.test_it.Case.test_logs")
        result.append(names.countTestCases())
        """,
    ) == [True, 1, 1, [], 1]
