"""``os.environ``: what a program sees of it, and what its children inherit."""

from __future__ import annotations

import os

import pytest

from gateway.namespace import Namespace

from .worlds import Program, load


def test_reading(program: Program) -> None:
    assert program(
        {},
        """
        import os
        environ = os.environ
        try:
            environ["GONE"]
        except KeyError as exc:
            missing = [exc.args[0], exc.__suppress_context__]
        result = [
            environ["COLOUR"], environ.get("GONE"), os.getenv("COLOUR"),
            os.getenv("GONE", default="x"), os.getenv(key="GONE"), os.getenvb(b"COLOUR").decode(),
            os.environb[b"COLOUR"].decode(), "COLOUR" in environ, b"COLOUR" in os.environb,
            sorted(environ) == sorted(environ.keys()), missing, "GATEWAY_STATE_DIR" in environ,
            isinstance(environ, dict), type(environ.copy()), repr(environ).startswith("environ({"),
        ]
        result[-2] = result[-2].__name__
        """,
        environ={"COLOUR": "red"},
    ) == [
        "red",
        None,
        "red",
        "x",
        None,
        "red",
        "red",
        True,
        True,
        True,
        ["GONE", True],
        False,
        False,
        "dict",
        True,
    ]


def test_writing(program: Program) -> None:
    assert program(
        {},
        """
        import os
        environ = os.environ
        environ["A"] = "1"
        os.environb[b"B"] = b"2"
        environ |= {"C": "3"}
        environ.update(D="4")
        environ.setdefault("E", "5")
        result = [{k: environ[k] for k in "ABCDE"}, environ.pop("A"), environ.pop("A", None)]
        del environ["B"]
        result += ["B" in environ, b"B" in os.environb, (environ | {"X": "y"})["X"]]
        result += [({"X": "y"} | environ)["C"], "X" in environ]
        for action in (lambda: environ.__delitem__("GONE"), lambda: environ.__setitem__("A", 1),
                       lambda: environ.__setitem__(1, "a"), lambda: environ.__setitem__("a=b", "c"),
                       lambda: environ.__setitem__("a", "b\\0"), lambda: environ[b"A"],
                       lambda: os.environb.__setitem__("A", "x")):
            try:
                action()
                result.append("fine")
            except (KeyError, TypeError, ValueError) as exc:
                result.append(f"{type(exc).__name__}: {exc}")
        environ.clear()
        result.append(dict(environ))
        """,
    ) == [
        {"A": "1", "B": "2", "C": "3", "D": "4", "E": "5"},
        "1",
        None,
        False,
        False,
        "y",
        "3",
        False,
        "KeyError: 'GONE'",
        "TypeError: str expected, not int",
        "TypeError: str expected, not int",
        "ValueError: illegal environment variable name",
        "ValueError: embedded null byte",
        "TypeError: str expected, not bytes",
        "TypeError: bytes expected, not str",
        {},
    ]


CHILDREN = """
import os, subprocess, sys
def shell(**how):
    command = ["/bin/sh", "-c", "echo $A $B"]
    return subprocess.run(command, capture_output=True, text=True, **how).stdout.strip()
def children():
    read, write = os.pipe()
    os.set_inheritable(write, True)
    os.system(f"echo $A $B > /dev/fd/{write}")
    pid = os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", f"echo $A $B > /dev/fd/{write}")
    os.waitpid(pid, 0)
    command = ["sh", "-c", f"echo $A $B > /dev/fd/{write}"]
    os.spawnv(os.P_WAIT, "/bin/sh", command)
    os.waitpid(os.posix_spawn("/bin/sh", command, os.environ), 0)
    os.close(write)
    with os.fdopen(read) as file:
        lines = file.read().splitlines()
    with os.popen("echo $A $B") as file:
        lines.append(file.read().strip())
    return [*lines, shell(), shell(env={"A": "own"}), shell(close_fds=False),
            subprocess.getoutput("echo $A $B"), subprocess.check_output("echo $A $B", shell=True,
            text=True).strip()]
"""


def test_children(program: Program) -> None:
    inherited = ["1 2"] * 6 + ["own"] + ["1 2"] * 3
    assert (
        program(
            {},
            CHILDREN + "os.environ['B'] = '2'\nresult = children()",
            environ={"A": "1"},
        )
        == inherited
    )


def test_putenv(program: Program) -> None:
    """It changes what children inherit, and not ``os.environ``."""
    assert program(
        {},
        CHILDREN
        + """
os.putenv("A", "put")
os.unsetenv("B")
with os.popen("echo $A $B") as file:
    result = [shell(), os.environ["A"], os.environ["B"], file.read().strip()]
for bad in (("a=b", "c"), ("a", "b\\0"), ("", "x")):
    try:
        os.putenv(*bad)
        result.append("fine")
    except (ValueError, OSError) as exc:
        result.append("refused")
""",
        environ={"A": "1", "B": "2"},
    ) == ["put", "1", "2", "put", "refused", "refused", "refused"]


def test_exec(program: Program) -> None:
    """Who forks and replaces itself passes on the program's environment."""
    assert (
        program(
            {},
            """
        import os, pty, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        os.environ["B"] = "2"
        result = []
        for how in (
            lambda: os.execv("/bin/sh", ["sh", "-c", "echo $A $B"]),
            lambda: os.execvp("sh", ["sh", "-c", "echo $A $B"]),
            lambda: os.execl("/bin/sh", "sh", "-c", "echo $A $B"),
            lambda: os.execlp("sh", "sh", "-c", "echo $A $B"),
            lambda: os.execve("/bin/sh", ["sh", "-c", "echo $A $B"], os.environ),
            lambda: pty.os.execvp("sh", ["sh", "-c", "echo $A $B"]),
        ):
            read, write = os.pipe()
            pid = os.fork()
            if not pid:
                try:
                    os.dup2(write, 1)
                    how()
                finally:
                    os._exit(1)
            os.close(write)
            with os.fdopen(read) as file:
                result.append(file.read().strip())
            os.waitpid(pid, 0)
        """,
            environ={"A": "1"},
        )
        == ["1 2"] * 6
    )


def test_shared_code_reads_it(program: Program) -> None:
    assert program(
        {},
        """
        import getpass, os.path, pathlib, shutil, tempfile, urllib.request, warnings
        os.environ["COLUMNS"], os.environ["LINES"] = "77", "33"
        os.environ["USER"] = os.environ["LOGNAME"] = "me"
        os.environ["http_proxy"] = "http://proxy:1"
        os.environ["PATH"] = "/nowhere"
        result = [
            os.path.expanduser("~/x"), str(pathlib.Path("~").expanduser()),
            str(pathlib.Path.home()),
            os.path.expandvars("$COLOUR ${GONE}"), list(shutil.get_terminal_size()),
            getpass.getuser(), urllib.request.getproxies()["http"], shutil.which("sh"),
            os.get_exec_path(), sorted(map(len, [tempfile._candidate_tempdir_list()]))[0] > 0,
        ]
        """,
        environ={"COLOUR": "red"},
    ) == [
        "/home/nobody/x",
        "/home/nobody",
        "/home/nobody",
        "red ${GONE}",
        [77, 33],
        "me",
        "http://proxy:1",
        None,
        ["/nowhere"],
        True,
    ]


def test_in_threads_without_a_frame_of_the_program(program: Program) -> None:
    assert program(
        {},
        """
        import os, threading
        from concurrent.futures import ThreadPoolExecutor
        os.environ["HOME"] = "/changed"
        with ThreadPoolExecutor(2) as pool:
            result = list(pool.map(os.path.expanduser, ["~", "~/a"]))
        """,
    ) == ["/changed", "/changed/a"]


def test_the_process_sees_nothing(hooks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLOUR", "process")
    before = dict(os.environ)
    spaces = [Namespace(name, environ={"COLOUR": name}) for name in ("red", "green")]
    write = """
        import os, posixpath
        os.environ["MADE"] = os.environ["COLOUR"]
        os.environb[b"BYTES"] = b"x"
        os.putenv("PUT", "x")
        posixpath.os.environ["SHARED"] = os.environ["COLOUR"]
        posixpath.os.environb[b"RAW"] = b"x"
        del posixpath.os.environ["COLOUR"]
        colour = os.environ.get("COLOUR")
        shared = posixpath.os.environ
        """
    found = [load(space, write) for space in spaces]
    assert dict(os.environ) == before
    assert [variables["colour"] for variables in found] == [None, None]
    for space, name in zip(spaces, ("red", "green"), strict=True):
        seen = load(space, "import os; seen = dict(os.environ)")["seen"]
        assert seen == {"MADE": name, "BYTES": "x", "SHARED": name, "RAW": "x"}
    with os.popen("echo $COLOUR-$MADE-$BYTES-$PUT-$SHARED-$RAW") as file:
        assert file.read().strip() == "process-----"
    os.environ["COLOUR"] = "again"
    assert "COLOUR" not in spaces[0].environ


def test_proxies_of_one_are_not_those_of_all(hooks: None) -> None:
    """``urlopen`` makes an opener once, with the proxies that it then finds."""
    spaces = [Namespace(name, environ={"http_proxy": f"http://{name}"}) for name in "ab"]
    source = """
        import urllib.request
        from urllib import request
        urllib.request.urlopen("data:,x").close()
        handlers = request._opener.handlers
        proxies = [h.proxies for h in handlers if isinstance(h, request.ProxyHandler)]
        """
    found = [load(space, source)["proxies"] for space in spaces]
    assert found == [[{"http": "http://a"}], [{"http": "http://b"}]]
