"""Standard streams: what a site does with them is nobody else's affair."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gateway.namespace import Namespace, streams

from .worlds import Program

pytestmark = pytest.mark.usefixtures("hooks")

Run = Callable[[str], Any]
ROOT = Path(__file__).resolve().parents[2]


def site(name: str) -> tuple[Namespace, Run]:
    namespace = Namespace(name)

    def run(source: str) -> Any:
        variables: dict[str, Any] = vars(namespace.modules["__main__"])
        exec(compile(dedent(source), f"<{name}>", "exec"), variables)
        return variables.get("result")

    return namespace, run


@pytest.fixture
def run() -> Iterator[Run]:
    namespace, run = site("site")
    yield run
    assert namespace.close() == []


def test_they_are_like_those_of_python(program: Program) -> None:
    main = """
        import io, sys

        result = []
        for name in ("stdin", "stdout", "stderr"):
            stream = getattr(sys, name)
            result.append([
                stream is getattr(sys, f"__{name}__"), isinstance(stream, io.TextIOWrapper),
                stream.name,
                stream.mode, stream.encoding, stream.readable(), stream.writable(),
                stream.closed, isinstance(stream.buffer, io.BufferedIOBase),
            ])
    """
    environ = {"PYTHONIOENCODING": "utf-8"}
    seen = program({}, main, environ=environ)
    assert seen == [
        [True, True, "<stdin>", "r", "utf-8", True, False, False, True],
        [True, True, "<stdout>", "w", "utf-8", False, True, False, True],
        [True, True, "<stderr>", "w", "utf-8", False, True, False, True],
    ]


RECIPES = {
    "closes": "for s in both: s.close()",
    "detaches": "for s in both: s.detach()",
    "closes the buffer": "for s in both: s.buffer.close()",
    "wraps": "sys.stdout, sys.stderr = [io.TextIOWrapper(s.buffer) for s in both]",
    "reopens": "sys.stdout, sys.stderr = [open(s.fileno(), 'w', 1) for s in both]",
    "reopens twice": "kept = [open(s.fileno(), 'w') for s in both * 2]; kept[0].close()",
    "reopens numbers": "sys.stdout, sys.stderr = os.fdopen(1, 'w', 1), os.fdopen(2, 'wb')",
    "closes numbers": "for s in both: os.close(s.fileno())",
    "forgets": "sys.stdout = sys.__stdout__ = None",
}
_BOTH = "import io, os, sys; both = [sys.stdout, sys.stderr]"

# In a process of its own, because pytest has streams of its own.
PROGRAM = """
import gc, os, sys
from gateway.namespace import Namespace, installed

def run(source):
    namespace = Namespace("site")
    exec(source, vars(namespace.modules["__main__"]))
    return namespace

with installed():
    namespace = run({recipe!r})
    same = os.fstat(1), os.fstat(2)
    namespace.close()
    del namespace
    gc.collect()
    assert (os.fstat(1)[:3], os.fstat(2)[:3]) == (same[0][:3], same[1][:3])
    lowest = os.open(os.devnull, os.O_RDONLY)
    assert lowest > 2, "a descriptor of the process was closed"
    run("import sys; print('from another'); print('and its errors', file=sys.stderr)").close()
    print("from the process")
    print("and its errors", file=sys.stderr)
"""


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_a_recipe_of_one_site_harms_nobody(recipe: str) -> None:
    program = PROGRAM.format(recipe=f"{_BOTH}\n{recipe}")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "from another\nfrom the process\n"
    assert done.stderr.endswith("and its errors\nand its errors\n")


def test_who_has_closed_a_stream_is_told_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    source = """
    import sys
    sys.stdout.close()
    try:
        print("lost")
    except ValueError as error:
        result = str(error)
    """
    assert run(source) == "I/O operation on closed file."
    assert capsys.readouterr().out == ""


def test_what_is_set_stays(run: Run) -> None:
    assert run(
        "import io, sys; before = sys.stdout; sys.stdout = mine = io.StringIO(); print('x');"
        "result = [sys.stdout is mine, mine.getvalue(), sys.__stdout__ is before]"
    ) == [True, "x\n", True]


def test_the_last_text_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    for recipe in ("", "sys.stdout = io.TextIOWrapper(sys.stdout.buffer)\n"):
        namespace, run = site("site")
        run(f"import io, sys\n{recipe}print('the last', end='')")
        assert namespace.close() == []
        assert capsys.readouterr().out == "the last"


def test_the_last_text_of_a_collected_wrapper_is_not_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    namespace, run = site("site")
    run("import io, sys; log = io.TextIOWrapper(sys.stdout.buffer); log.write('the last')")
    run("log.own = log")  # a cycle
    assert namespace.close() == []
    del namespace, run
    gc.collect()
    assert capsys.readouterr().out == "the last"


def test_lines_of_threads_stay_whole(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    source = """
    import sys
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: sys.stdout.write(f"{n % 10}" * 50 + "\\n"), range(400)))
    """
    with ThreadPoolExecutor(1) as other:
        ended = other.submit(run, source)
        for _ in range(400):
            print("p" * 50)
        ended.result()
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == sorted([str(n % 10) * 50 for n in range(400)] + ["p" * 50] * 400)


def test_code_of_a_site_may_write_while_it_writes(capsys: pytest.CaptureFixture[str]) -> None:
    stream = streams.make("stdout")

    class Nested(io.StringIO):
        """Stands for a collection that runs a finalizer of the site in the midst of a write."""

        def write(self, text: str) -> int:
            if text == "outer\n":
                stream.write("inner\n")
            return super().write(text)

    before, sys.stdout = sys.stdout, Nested()
    try:
        stream.write("outer\n")
        assert sys.stdout.getvalue() == "inner\nouter\n"
    finally:
        sys.stdout = before


def test_without_a_stream_of_the_process(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert run("import sys; print('lost'); result = sys.stdout is None") is True
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    run("print('seen é')")
    assert sys.stdout.getvalue() == "seen é\n"
    monkeypatch.setattr(sys, "stdout", None)
    run("print('lost')")
    closed = io.TextIOWrapper(io.BytesIO())
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    run("print('lost'); assert not sys.stdout.isatty()")


def test_nobody_reads_any_more(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    broken = io.TextIOWrapper(io.FileIO(writer, "w"), write_through=True)
    monkeypatch.setattr(sys, "stdout", broken)
    source = """
    try:
        print("lost")
    except BrokenPipeError:
        result = "told"
    """
    assert run(source) == "told"
    broken.buffer.close()


def test_input_of_the_process(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    process = io.TextIOWrapper(io.BytesIO("é 1\n2\n3\n4".encode()), "utf-8")
    monkeypatch.setattr(sys, "stdin", process)
    assert run("import sys; result = sys.stdin.readline()") == "é 1\n"
    assert process.buffer.readline() == b"2\n", "the site has taken more than its line"
    assert run("result = sys.stdin.read()") == "3\n4"


def test_a_number_that_is_left_is_closed_unless_it_is_somebody_elses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(streams, "_LATE", 0.0)
    with (tmp_path / "log").open("w") as log, (tmp_path / "other").open("w") as other:
        monkeypatch.setattr(sys, "stdout", log)
        first, second = streams.make("stdout"), streams.make("stdout")
        left, taken = first.fileno(), second.fileno()
        assert first.fileno() == left != taken and min(left, taken) > 500
        os.dup2(other.fileno(), taken)  # the site has closed it, and somebody else got it
        del first, second
        third = streams.make("stdout").fileno()
        assert third not in (left, taken)
        with pytest.raises(OSError):
            os.fstat(left)
        assert os.path.sameopenfile(taken, other.fileno())
        os.close(taken)


def test_a_number_that_another_stream_has_now_stays_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(streams, "_LATE", 0.0)
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(sys, "stdout", log)
        first, second = streams.make("stdout"), streams.make("stdout")
        number = first.fileno()
        os.close(number)
        monkeypatch.setattr(streams, "_next", number)  # as if all others had been in use since
        assert second.fileno() == number
        del first
        streams.make("stdout").fileno()
        assert os.path.sameopenfile(number, log.fileno())
