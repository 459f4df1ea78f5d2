"""State that Python keeps once for a process: each of two namespaces has its own."""

from __future__ import annotations

import calendar
import csv
import decimal
import faulthandler
import gc
import gettext
import locale
import mimetypes
import os
import random
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.mime.text import MIMEText
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gateway.namespace import Namespace, signals

from .worlds import load

pytestmark = pytest.mark.usefixtures("hooks")

Run = Callable[[str], Any]


@pytest.fixture
def pair(hooks: None) -> Iterator[tuple[Run, Run]]:
    """Two namespaces; each call runs a piece of code as a module in one, and returns ``result``."""
    namespaces = [Namespace(name, environ={"NAME": name}) for name in ("a", "b")]

    def runner(namespace: Namespace) -> Run:
        def run(source: str) -> Any:
            variables: dict[str, Any] = vars(namespace.modules["__main__"])
            exec(compile(dedent(source), f"<{namespace.name}>", "exec"), variables)
            return variables.get("result")

        return run

    yield runner(namespaces[0]), runner(namespaces[1])
    for namespace in namespaces:
        assert namespace.close() == []


def test_warning_filters(pair: tuple[Run, Run]) -> None:
    a, b = pair
    before = list(warnings.filters)
    a("import warnings; warnings.resetwarnings(); warnings.simplefilter('error')")
    provoke = """
    import warnings
    try:
        warnings.warn("careful", UserWarning)
        result = "shown or ignored"
    except UserWarning:
        result = "raised"
    """
    b("import warnings; warnings.simplefilter('ignore')")
    assert [a(provoke), b(provoke)] == ["raised", "shown or ignored"]
    assert warnings.filters == before


def test_warnings_from_c_code_go_by_the_filters_of_the_site(pair: tuple[Run, Run]) -> None:
    a, b = pair
    # The compiler, which is C, warns.
    provoke = """
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter({action!r})
        compile("1 is 1", "<code>", "eval")
    result = len(caught)
    """
    assert a(provoke.format(action="always")) == 1
    assert b(provoke.format(action="ignore")) == 0


def test_csv_dialects(pair: tuple[Run, Run]) -> None:
    a, b = pair
    a("import csv; csv.register_dialect('ours', delimiter='|')")
    b("import csv; csv.register_dialect('ours', delimiter=';')")
    read = "result = next(csv.reader(['1|2;3'], 'ours'))"
    assert [a(read), b(read)] == [["1", "2;3"], ["1|2", "3"]]
    assert "ours" not in csv.list_dialects()


def test_mimetypes(pair: tuple[Run, Run]) -> None:
    a, b = pair
    a("import mimetypes; mimetypes.add_type('text/ours', '.ours')")
    guess = "import mimetypes; result = mimetypes.guess_type('x.ours')[0]"
    assert [a(guess), b(guess)] == ["text/ours", None]
    assert mimetypes.guess_type("x.ours") == (None, None)


def test_random_numbers(pair: tuple[Run, Run]) -> None:
    a, b = pair
    state = random.getstate()
    a("import random; random.seed(1)")
    b("import random; random.seed(1)")
    draw = "result = random.random()"
    first = a(draw)
    assert a(draw) != first == b(draw)
    assert random.getstate() == state


def test_the_folder_for_temporary_files(pair: tuple[Run, Run], tmp_path: Path) -> None:
    a, b = pair
    before = tempfile.gettempdir()
    a(f"import os, tempfile; os.environ['TMPDIR'] = {str(tmp_path)!r}")
    b("import tempfile; tempfile.tempdir = '/b'")
    ask = "result = tempfile.gettempdir()"
    assert [a(ask), b(ask)] == [str(tmp_path), "/b"]
    assert tempfile.gettempdir() == before


def test_gettext_catalogues(pair: tuple[Run, Run], tmp_path: Path) -> None:
    a, b = pair
    a(f"import gettext; gettext.bindtextdomain('shop', {str(tmp_path)!r})")
    b("import gettext; gettext.textdomain('ours')")
    assert a("result = gettext.textdomain()") == "messages"
    assert b("result = gettext.bindtextdomain('shop')") != str(tmp_path)
    assert gettext.textdomain() == "messages"


def test_a_catalogue_that_changes(hooks: None, tmp_path: Path) -> None:
    """``gettext`` keeps what it has read by its path: the next generation reads it again."""
    source = f"""
    import gettext
    result = gettext.translation("shop", {str(tmp_path)!r}, ["de"]).gettext("tea")
    """
    for translation in ("Tee", "Tees"):
        write_catalogue(tmp_path / "de" / "LC_MESSAGES" / "shop.mo", {"tea": translation})
        namespace = Namespace("a")
        assert load(namespace, source)["result"] == translation
        namespace.close()


def write_catalogue(path: Path, messages: dict[str, str]) -> None:
    """A ``.mo`` file; see "The Format of GNU MO Files" in the manual of gettext."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = sorted({"": "", **messages})
    texts = [text.encode() for text in (*keys, *({"": "", **messages}[key] for key in keys))]
    place, table = 28 + 8 * len(texts), b""
    for text in texts:
        table += struct.pack("<II", len(text), place)
        place += len(text) + 1
    header = struct.pack("<7I", 0x950412DE, 0, len(keys), 28, 28 + 8 * len(keys), 0, place)
    path.write_bytes(header + table + b"".join(text + b"\0" for text in texts))


def test_locale(pair: tuple[Run, Run]) -> None:
    a, b = pair
    before = locale.setlocale(locale.LC_ALL)
    ask = "import locale; result = locale.setlocale(locale.LC_NUMERIC)"
    untouched = b(ask)
    a("import locale; locale.setlocale(locale.LC_NUMERIC, ('de_DE', 'UTF-8'))")
    assert a(ask) == "de_DE.UTF-8"
    assert b(ask) == untouched
    assert locale.setlocale(locale.LC_ALL) == before


def test_the_time_zone_of_the_c_library(pair: tuple[Run, Run]) -> None:
    a, b = pair
    before = time.tzname, time.localtime(0)
    a("import os, time; os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()")
    assert b("import os; result = os.environ.get('TZ')") is None
    assert (time.tzname, time.localtime(0)) == before


def test_the_default_timeout_of_sockets(pair: tuple[Run, Run]) -> None:
    a, b = pair
    a("import socket; socket.setdefaulttimeout(7)")
    ask = """
    import socket, http.client
    with socket.socket() as s:
        result = [socket.getdefaulttimeout(), s.gettimeout()]
    """
    assert [a(ask), b(ask)] == [[7, 7.0], [None, None]]
    assert socket.getdefaulttimeout() is None


def test_signal_handlers(pair: tuple[Run, Run]) -> None:
    a, b = pair
    before = signal.getsignal(signal.SIGTERM)
    a("import signal; signal.signal(signal.SIGTERM, print)")
    ask = "import signal; result = signal.getsignal(signal.SIGTERM)"
    assert [a(ask), b(ask)] == [print_of(a), signal.SIG_DFL]
    assert signal.getsignal(signal.SIGTERM) is before


def print_of(run: Run) -> Any:
    return run("result = print")


def test_the_garbage_collector(pair: tuple[Run, Run]) -> None:
    a, b = pair
    before = gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()
    a("import gc; gc.disable(); gc.set_threshold(5); gc.freeze(); gc.set_debug(gc.DEBUG_STATS)")
    ask = "import gc; result = [gc.isenabled(), gc.get_threshold()[0], gc.get_debug()]"
    assert [a(ask), b(ask)] == [[False, 5, gc.DEBUG_STATS], [True, before[1][0], 0]]
    assert (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()) == before
    assert gc.get_debug() == 0


def test_the_recursion_limit_is_only_raised(pair: tuple[Run, Run]) -> None:
    a, b = pair
    before = sys.getrecursionlimit()
    try:
        a("import sys; sys.setrecursionlimit(200)")
        assert a("result = sys.getrecursionlimit()") == 200
        assert sys.getrecursionlimit() == before
        b(f"import sys; sys.setrecursionlimit({before + 100})")
        assert sys.getrecursionlimit() == before + 100
    finally:
        sys.setrecursionlimit(before)


STACK = """
import ctypes, threading
libc = ctypes.CDLL(None)
libc.pthread_self.restype = ctypes.c_void_p
def size():
    attributes, found = ctypes.create_string_buffer(256), ctypes.c_size_t()
    assert libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attributes) == 0
    libc.pthread_attr_getstacksize(attributes, ctypes.byref(found))
    libc.pthread_attr_destroy(attributes)
    result.append(found.value)
def start(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_the_size_of_the_stacks_of_threads(pair: tuple[Run, Run]) -> None:
    a, b = pair
    before = threading.stack_size()
    in_a_thread = f"{STACK}result = []\nstart(size)"
    # Threads that other code of the site or of Python starts count as well.
    others = """
    result.clear()
    import _thread
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(lambda: (size(), done.release()), ())
    done.acquire(timeout=20)
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(1) as threads:
        threads.submit(size).result()
    """
    (usual,) = b(in_a_thread)
    assert a("import threading; result = threading.stack_size(64 << 20)") == 0
    assert a("result = threading.stack_size()") == 64 << 20
    assert a(in_a_thread) == [64 << 20]
    assert a(others) == [64 << 20, 64 << 20]
    assert b(in_a_thread) == [usual]
    a("threading.stack_size(32768)")
    assert a(in_a_thread) == [8 << 20]
    assert a("import _thread; result = _thread.stack_size(0)") == 32768
    assert a(in_a_thread) == [usual]
    with pytest.raises(ValueError):
        a("threading.stack_size(5)")
    assert threading.stack_size() == before


def test_a_thread_that_cannot_be_started_leaves_the_size(
    pair: tuple[Run, Run],
) -> None:
    a, _ = pair
    before = threading.stack_size()
    a("import threading; threading.stack_size(1 << 50)")
    with pytest.raises(RuntimeError):
        a("threading.Thread(target=print).start()")
    assert threading.stack_size() == before


def test_the_first_day_of_the_week(pair: tuple[Run, Run]) -> None:
    a, b = pair
    a("import calendar; calendar.setfirstweekday(calendar.SUNDAY)")
    ask = "import calendar; result = [calendar.firstweekday(), calendar.monthcalendar(2026, 11)[0]]"
    assert a(ask) == [6, [1, 2, 3, 4, 5, 6, 7]]
    assert b(ask) == [0, [0, 0, 0, 0, 0, 0, 1]]
    assert calendar.firstweekday() == 0


def test_charsets_of_mail(pair: tuple[Run, Run]) -> None:
    a, b = pair
    a(
        """
        from email import charset
        charset.add_charset("utf-8", charset.QP, charset.QP)
        charset.add_alias("ours", "utf-8")
        charset.add_codec("ours-2", "latin-1")
        """
    )
    ask = """
    from email import charset
    from email.mime.text import MIMEText
    result = [
        MIMEText("grün", "plain", "utf-8")["Content-Transfer-Encoding"],
        charset.Charset("ours").input_charset,
        charset.CODEC_MAP.get("ours-2"),
    ]
    """
    assert a(ask) == ["quoted-printable", "utf-8", "latin-1"]
    assert b(ask) == ["base64", "ours", None]
    assert MIMEText("grün", "plain", "utf-8")["Content-Transfer-Encoding"] == "base64"


def test_hooks_for_all_threads(pair: tuple[Run, Run]) -> None:
    a, b = pair
    for kind in ("trace", "profile"):
        for name in (f"set{kind}", f"set{kind}_all_threads"):
            if not hasattr(threading, name):
                continue
            a(f"import threading; threading.{name}(print)")
            ask = f"import threading; result = threading.get{kind}()"
            assert [a(ask), b(ask)] == [print_of(a), None]
            assert getattr(threading, f"get{kind}")() is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has it from 3.12 on")
def test_monitoring(pair: tuple[Run, Run]) -> None:
    watch = """
    import sys
    watched = []
    def monitor():
        sys.monitoring.use_tool_id(4, "ours")
        sys.monitoring.register_callback(4, sys.monitoring.events.PY_START, watched.append)
        sys.monitoring.set_events(4, sys.monitoring.events.PY_START)
        return sys.monitoring.get_tool(4)
    result = monitor()
    """
    assert [run(watch) for run in pair] == ["ours", "ours"]
    assert sys.monitoring.get_tool(4) is None
    assert [run("result = watched") for run in pair] == [[], []]


def test_sqlite_converters_and_adapters(pair: tuple[Run, Run]) -> None:
    a, b = pair
    before = dict(sqlite3.converters), dict(sqlite3.adapters)  # type: ignore[attr-defined]
    use = """
    import decimal, sqlite3
    sqlite3.register_converter("thing", lambda value: ({mark!r}, value.decode()))
    sqlite3.register_adapter(decimal.Decimal, lambda value: {mark!r} + str(value))
    db = sqlite3.connect(":memory:", detect_types=sqlite3.PARSE_DECLTYPES, check_same_thread=False)
    db.execute("create table t (x thing, y text)")
    def ask():
        db.execute("delete from t")
        db.execute("insert into t values ('1', ?)", [decimal.Decimal(2)])
        return db.execute("select * from t").fetchone()
    result = ask()
    """
    assert a(use.format(mark="a")) == (("a", "1"), "a2")
    assert b(use.format(mark="b")) == (("b", "1"), "b2")
    assert a("result = ask()") == (("a", "1"), "a2")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(a, "result = ask()").result() == (("a", "1"), "a2")
    for run in pair:
        run("db.close()")
    with sqlite3.connect(":memory:") as db, pytest.raises(sqlite3.Error):
        db.execute("select ?", [decimal.Decimal(1)])
    db.close()
    assert before[0].keys() < sqlite3.converters.keys()  # type: ignore[attr-defined]


def test_entries_in_tables_go_with_their_namespace(hooks: None) -> None:
    before = dict(sqlite3.converters), dict(sqlite3.adapters)  # type: ignore[attr-defined]
    namespace = Namespace("a")
    namespace.import_module("sqlite3").register_converter("thing", str)
    namespace.import_module("sqlite3.dbapi2").register_adapter(decimal.Decimal, str)
    namespace.import_module("sqlite3").register_converter("timestamp", str)
    namespace.close()
    assert (sqlite3.converters, sqlite3.adapters) == before  # type: ignore[attr-defined]


def test_pickling_of_shared_types_by_copyreg(pair: tuple[Run, Run]) -> None:
    a, _ = pair
    use = """
    import copyreg, pickle, types, fractions
    copyreg.pickle(fractions.Fraction, lambda f: (str, (NAME + str(f),)))
    result = pickle.loads(pickle.dumps(fractions.Fraction(1, 2)))
    """
    for run, name in zip(pair, "ab", strict=True):
        assert run(f"NAME = {name!r}\n" + dedent(use)) == f"{name}1/2"
    assert a("result = pickle.loads(pickle.dumps(fractions.Fraction(1, 2)))") == "a1/2"
    import fractions
    import pickle

    assert pickle.loads(pickle.dumps(fractions.Fraction(1, 2))) == fractions.Fraction(1, 2)


def test_decimal_contexts_of_threads(pair: tuple[Run, Run]) -> None:
    a, b = pair
    precise = "import decimal; decimal.getcontext().prec = 4; result = str(decimal.Decimal(10) / 3)"
    divide = "import decimal; result = str(decimal.Decimal(10) / 3)"
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        assert one.submit(a, precise).result() == "3.333"
        assert len(other.submit(b, divide).result()) > 20


def test_standard_output(pair: tuple[Run, Run], capsys: pytest.CaptureFixture[str]) -> None:
    a, b = pair
    a("import io, sys; sys.stdout = io.StringIO(); print('to a')")
    b("print('to all')")
    print("from the process")
    redirect = """
    import contextlib, io
    with contextlib.redirect_stdout(io.StringIO()) as caught:
        print("caught")
    result = caught.getvalue()
    """
    assert b(redirect) == "caught\n"
    assert a("result = sys.stdout.getvalue()") == "to a\n"
    assert capsys.readouterr().out == "to all\nfrom the process\n"


def test_the_hook_for_exceptions_that_end_threads(pair: tuple[Run, Run]) -> None:
    a, b = pair
    source = """
    import threading
    seen = []
    threading.excepthook = lambda args: seen.append(str(args.exc_value))
    def fail():
        raise LookupError(NAME)
    """
    for run, name in zip(pair, "ab", strict=True):
        run(f"NAME = {name!r}\n" + dedent(source))
    for run in pair:
        run("thread = threading.Thread(target=fail); thread.start(); thread.join()")
    assert [a("result = seen"), b("result = seen")] == [["a"], ["b"]]
    assert threading.excepthook is not None


def test_patching_a_function_of_a_viewed_module(pair: tuple[Run, Run]) -> None:
    a, b = pair
    a("import time, threading, os; time.time = lambda: 0; threading.get_ident = lambda: -1")
    ask = "import time, threading; result = time.time() == 0 or threading.get_ident() == -1"
    assert [a(ask), b(ask)] == [True, False]
    assert time.time() != 0


def test_a_part_of_a_viewed_package(pair: tuple[Run, Run]) -> None:
    """As Django imports it; and what the package has deprecated is still there."""
    a, _ = pair
    a("from sqlite3 import dbapi2; dbapi2.register_converter('by_part', str)")
    assert "BY_PART" in sqlite3.converters  # type: ignore[attr-defined]
    assert a("import sqlite3; result = sqlite3.dbapi2 is dbapi2")
    assert dict(sqlite3.converters)["BY_PART"] is not str  # type: ignore[attr-defined]


def test_the_timer_of_faulthandler_is_left_alone(pair: tuple[Run, Run], tmp_path: Path) -> None:
    a, _ = pair
    with (tmp_path / "stacks").open("wb") as file:
        faulthandler.dump_traceback_later(0.2, file=file)
        a(
            """
            import faulthandler
            from faulthandler import cancel_dump_traceback_later, dump_traceback_later
            cancel_dump_traceback_later()
            faulthandler.cancel_dump_traceback_later()
            dump_traceback_later(0.01, exit=True)
            """
        )
        until = time.monotonic() + 30
        while not (tmp_path / "stacks").stat().st_size and time.monotonic() < until:
            time.sleep(0.01)
        faulthandler.cancel_dump_traceback_later()
    assert (tmp_path / "stacks").read_text().startswith("Timeout")


SENDING = """
import _thread, os, posix, signal

def sent(send, *args):
    try:
        send(*args)
    except (KeyboardInterrupt, SystemExit) as exc:
        return repr(exc)

own, group, thread = os.getpid(), os.getpgrp(), _thread.get_ident()
"""


@pytest.fixture
def caught() -> Iterator[list[int]]:
    """The signals that have reached the process."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGTSTP)
    calls: list[int] = []
    before = {number: signal.signal(number, lambda n, _: calls.append(n)) for number in numbers}
    yield calls
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    "send",
    [
        "os.kill, own",
        "posix.kill, own",
        "os.kill, 0",
        "os.kill, -group",
        "os.killpg, group",
        "os.killpg, 0",
        "signal.raise_signal",
        "signal.pthread_kill, thread",
    ],
)
def test_a_signal_to_the_own_process(pair: tuple[Run, Run], caught: list[int], send: str) -> None:
    a, b = pair
    signals = ("SIGINT", "SIGTERM", "SIGHUP", "SIGTSTP", "SIGCHLD", "SIGWINCH")
    each = ", ".join(f"sent({send}, signal.{name})" for name in signals)
    assert a(f"{SENDING}\nresult = [{each}]") == [
        "KeyboardInterrupt()",
        f"SystemExit({128 + signal.SIGTERM})",
        f"SystemExit({128 + signal.SIGHUP})",
        None,
        None,
        None,
    ]
    b("import signal; calls = []; signal.signal(signal.SIGTERM, lambda n, frame: calls.append(n))")
    a("signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    assert a(f"result = sent({send}, signal.SIGHUP)") is None
    assert b(f"{SENDING}\nresult = [sent({send}, signal.SIGTERM), *calls]") == [
        None,
        signal.SIGTERM,
    ]
    assert caught == []


def test_an_interrupt_of_the_main_thread(pair: tuple[Run, Run], caught: list[int]) -> None:
    a, _ = pair
    assert a(
        f"""{SENDING}
result = [sent(_thread.interrupt_main), sent(_thread.interrupt_main, signal.SIGTERM)]
signal.signal(signal.SIGTERM, lambda n, frame: result.append(n))
result.append(sent(_thread.interrupt_main, signal.SIGTERM))
"""
    ) == ["KeyboardInterrupt()", None, signal.SIGTERM, None]
    assert caught == []


def test_signals_that_are_sent_as_they_are(pair: tuple[Run, Run], caught: list[int]) -> None:
    """To the process by the process itself, to others by a site, and by a child to itself."""
    signal.raise_signal(signal.SIGUSR1)
    assert caught == [signal.SIGUSR1]
    a, _ = pair
    assert a(
        f"""{SENDING}
import subprocess
other = subprocess.Popen(["sleep", "60"])
other.terminate()
ends = [other.wait()]
child = os.fork()
if not child:
    os.kill(os.getpid(), signal.SIGUSR2)
    os._exit(0)
ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
wrong = []
for args in [(own, 0), (own, "x"), (own,), ("x", 15), (own, 999)]:
    try:
        os.kill(*args)
    except (TypeError, OSError) as exc:
        wrong.append(type(exc).__name__)
result = [*ends, *wrong]
"""
    ) == [-signal.SIGTERM, -signal.SIGUSR2, "TypeError", "TypeError", "TypeError", "OSError"]
    assert caught == [signal.SIGUSR1]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_kills_and_crashes_stay_what_they_are(tmp_path: Path, name: str) -> None:
    (tmp_path / "script.py").write_text(f"import os, signal\nos.kill(os.getpid(), signal.{name})\n")
    command = [sys.executable, "-m", "gateway.namespace", "--path", str(tmp_path)]
    ended = subprocess.run([*command, str(tmp_path / "script.py")], capture_output=True)
    assert ended.returncode == -signal.Signals[name]


SUPERVISOR = """
import signal, subprocess, sys

caught = []
for name in ("SIGTERM", "SIGHUP", "SIGSEGV"):
    signal.signal(getattr(signal, name), lambda number, frame: caught.append(number))
alive = subprocess.Popen(sys.argv[1:])
print(alive.wait(), caught)
"""


@pytest.fixture
def below_a_supervisor(tmp_path: Path) -> Callable[..., str]:
    """Runs code in a namespace whose process has a parent that notes signals, in its own session.

    Returns what the code prints, and then the status of its process and the numbers.
    """

    def run(code: str, *, grouped: bool = True) -> str:
        leave = "" if grouped else "import os; os.setpgid(0, 0)\n"
        (tmp_path / "script.py").write_text(leave + SENDING + dedent(code))
        command = [sys.executable, "-m", "gateway.namespace", "--path", str(tmp_path)]
        ended = subprocess.run(
            [sys.executable, "-c", SUPERVISOR, *command, str(tmp_path / "script.py")],
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=30,
        )
        assert ended.returncode == 0, ended
        return ended.stdout

    return run


ABOVE = [
    "os.kill, os.getppid()",
    "posix.kill, os.getppid()",
    "os.kill, -os.getpgid(os.getppid())",
    "os.killpg, os.getpgid(os.getppid())",
    "signal.pidfd_send_signal, os.pidfd_open(os.getppid())",
]


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("send", ABOVE)
def test_a_signal_to_the_process_above_reaches_the_site_alone(
    below_a_supervisor: Callable[..., str], send: str, grouped: bool
) -> None:
    told = below_a_supervisor(
        f"""
        print(sent({send}, signal.SIGTERM), sent({send}, signal.SIGHUP), sent({send}, 0))
        signal.signal(signal.SIGTERM, lambda number, frame: print(number))
        sent({send}, signal.SIGTERM)
        for number in (signal.SIGKILL, signal.SIGSTOP):
            try:
                sent({send}, number)
            except PermissionError as error:
                print(error)
        print(flush=True)
        sent({send}, signal.SIGSEGV)
        """,
        grouped=grouped,
    )
    assert told.splitlines() == [
        f"SystemExit({128 + signal.SIGTERM}) SystemExit({128 + signal.SIGHUP}) None",
        str(int(signal.SIGTERM)),
        *(
            f"[Errno 1] a site cannot send {name} to the process above its own, nor to a group "
            "with it: that would end or stop all sites"
            for name in ("SIGKILL", "SIGSTOP")
        ),
        "",
        f"{-signal.SIGSEGV} []",
    ]


@pytest.mark.parametrize("send", ["os.kill, 0", "os.kill, -group", "os.killpg, group"])
def test_a_kill_of_the_group_spares_the_process_above(
    below_a_supervisor: Callable[..., str], send: str
) -> None:
    kill = f"""
    try:
        sent({send}, signal.SIGKILL)
    except PermissionError as error:
        print("refused", flush=True)
    """
    assert below_a_supervisor(kill) == "refused\n0 []\n"
    assert below_a_supervisor(kill, grouped=False) == f"{-signal.SIGKILL} []\n"


def test_a_signal_to_every_process_reaches_the_site_alone(pair: tuple[Run, Run]) -> None:
    """With functions that send nothing: all of this machine would get it."""
    a, _ = pair
    ask = a(f"{SENDING}\nresult = sent")
    reached: list[tuple[int, ...]] = []
    for make, target in [(signals.kill_of_the_asker, -1), (signals.killpg_of_the_asker, 1)]:
        send = make(lambda *args: reached.append(args))
        assert ask(send, target, signal.SIGTERM) == f"SystemExit({128 + signal.SIGTERM})"
        with pytest.raises(PermissionError):
            ask(send, target, signal.SIGKILL)
    assert reached == []


def test_a_handler_by_faulthandler_is_left_alone(pair: tuple[Run, Run], caught: list[int]) -> None:
    a, _ = pair
    assert (
        a(
            """
            import faulthandler, signal
            faulthandler.register(signal.SIGUSR1, chain=False)
            result = faulthandler.unregister(signal.SIGUSR1)
            faulthandler.register(signal.SIGUSR1, chain=False)
            """
        )
        is None
    )
    signal.raise_signal(signal.SIGUSR1)
    assert caught == [signal.SIGUSR1]


def test_functions_around_forks_are_those_of_the_site_that_forks(
    pair: tuple[Run, Run],
) -> None:
    register = """
    import os
    calls = []
    os.register_at_fork(before=lambda: calls.append("before"),
                        after_in_parent=lambda: calls.append("parent"),
                        after_in_child=lambda: calls.append("child"))
    """
    a, b = pair
    a(register)
    b(register)
    fork = """
    child = os.fork()
    if not child:
        os._exit(calls != ["before", "child"])
    result = [os.waitpid(child, 0)[1], *calls]
    """
    assert a(fork) == [0, "before", "parent"]
    assert b("result = calls") == []
    if not (child := os.fork()):
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert [a("result = calls"), b("result = calls")] == [["before", "parent"], []]
