"""Code objects are shared, never stale, and kept alive by nobody."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import pytest

from gateway.namespace import Namespace
from gateway.namespace.codecache import CODE, CodeCache, bytecode_is_newer

from .worlds import Program, write


def load(folder: Path, name: str = "shop") -> int:
    value: int = Namespace("short", path=[folder]).import_module(name).value
    return value


def set_times(path: Path, seconds: float) -> None:
    os.utime(path, (seconds, seconds))


def test_the_same_code_object(hooks: None, tmp_path: Path) -> None:
    write(tmp_path, {"shop.py": "def f(): return 1"})
    spaces = [Namespace(name, path=[tmp_path]) for name in "ab"]
    first, second = (space.import_module("shop").f for space in spaces)
    assert first is not second
    assert first.__code__ is second.__code__


def test_another_folder_is_another_file(hooks: None, tmp_path: Path) -> None:
    """The code names its file."""
    for name in "ab":
        write(tmp_path / name, {"shop.py": "def f(): return 1"})
    spaces = [Namespace(name, path=[tmp_path / name]) for name in "ab"]
    files = [space.import_module("shop").f.__code__.co_filename for space in spaces]
    assert files == [str(tmp_path / name / "shop.py") for name in "ab"]


def test_a_change_of_the_same_size_within_a_second(hooks: None, tmp_path: Path) -> None:
    """With the same modification time, to be sure."""
    write(tmp_path, {"shop.py": "value = 1"})
    now = time.time()
    for value in range(1, 6):
        (tmp_path / "shop.py").write_text(f"value = {value}")
        set_times(tmp_path / "shop.py", now)
        assert load(tmp_path) == value


def test_a_file_put_in_its_place(hooks: None, tmp_path: Path) -> None:
    write(tmp_path, {"shop.py": "value = 1", "new/shop.py": "value = 2"})
    set_times(tmp_path / "shop.py", 1_000_000_000)
    set_times(tmp_path / "new" / "shop.py", 1_000_000_000)
    assert load(tmp_path) == 1
    (tmp_path / "new" / "shop.py").replace(tmp_path / "shop.py")
    assert load(tmp_path) == 2


def test_a_folder_put_in_its_place(hooks: None, tmp_path: Path) -> None:
    """A release that is moved to where the last one was, with the times of the archive."""
    for value, release in enumerate(("old", "new")):
        files = {"shop/__init__.py": "", "shop/a.py": f"value = {value}"}
        write(tmp_path / release, files | ({"shop/b.py": "value = 7"} if value else {}))
        for path in sorted((tmp_path / release).rglob("*"), reverse=True):
            set_times(path, 1_000_000_000)
    (tmp_path / "old").rename(tmp_path / "live")
    assert load(tmp_path / "live", "shop.a") == 0
    with pytest.raises(ModuleNotFoundError):
        load(tmp_path / "live", "shop.b")
    (tmp_path / "live").rename(tmp_path / "old")
    (tmp_path / "new").rename(tmp_path / "live")
    assert load(tmp_path / "live", "shop.a") == 1
    assert load(tmp_path / "live", "shop.b") == 7


def test_a_module_that_becomes_a_package(hooks: None, tmp_path: Path) -> None:
    write(tmp_path, {"shop.py": "value = 1"})
    assert load(tmp_path) == 1
    write(tmp_path, {"shop/__init__.py": "value = 2"})
    assert load(tmp_path) == 2
    (tmp_path / "shop" / "__init__.py").unlink()
    assert load(tmp_path) == 1
    (tmp_path / "shop.py").unlink()
    namespace = Namespace("short", path=[tmp_path])
    assert namespace.import_module("shop").__file__ is None


def test_bytecode_of_plain_python_is_not_trusted(program: Program) -> None:
    """Plain Python serves the stale ``.pyc``; a namespace does not."""
    assert program(
        {"a.py": "x = 1"},
        """
        import a, importlib, os, pathlib, py_compile
        py_compile.compile(a.__file__)
        stat = os.stat(a.__file__)
        pathlib.Path(a.__file__).write_text("x = 2")
        os.utime(a.__file__, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        result = importlib.reload(a).x
        """,
    ) == program.either(plain=1, namespace=2)


def test_bytecode_without_source(program: Program) -> None:
    assert program(
        {"make/a.py": "x = 1\ndef fail(): raise ValueError"},
        """
        import os, py_compile, sys, traceback
        here = os.path.dirname(os.path.abspath(__file__))
        py_compile.compile(os.path.join(here, "make/a.py"), os.path.join(here, "a.pyc"))
        import a
        result = [a.x, type(a.__loader__).__name__, os.path.basename(a.__file__)]
        """,
    ) == [1, "SourcelessFileLoader", "a.pyc"]


def test_nothing_is_kept(hooks: None, tmp_path: Path) -> None:
    write(tmp_path, {"shop.py": "def f(): return 1"})
    before = len(CODE._codes)
    namespace = Namespace("short", path=[tmp_path])
    namespace.import_module("shop")
    assert len(CODE._codes) > before
    del namespace
    gc.collect()
    assert not [identity for identity in CODE._codes if identity.path.startswith(str(tmp_path))]


class Clock:
    def __init__(self) -> None:
        self.now = time.time_ns() + 10**10

    def __call__(self) -> int:
        return self.now


def test_by_time_when_the_change_is_long_ago(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("1")
    cache = CodeCache(Clock())
    compiled = []

    def compile_() -> object:
        compiled.append(path.read_text())
        return compile(compiled[-1], str(path), "eval")

    first = cache.get(str(path), compile_)  # type: ignore[arg-type]
    assert cache.get(str(path), compile_) is first  # type: ignore[arg-type]
    stat = path.stat()
    path.write_text("2")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cache.get(str(path), compile_) is not first  # type: ignore[arg-type]
    assert compiled == ["1", "2"]


def test_code_that_changes_while_it_is_compiled(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("1")
    cache = CodeCache()

    def compile_and_change() -> object:
        code = compile(path.read_text(), str(path), "eval")
        path.write_text("2")
        return code

    first = cache.get(str(path), compile_and_change)  # type: ignore[arg-type]
    assert eval(first) == 1
    assert eval(cache.get(str(path), lambda: compile(path.read_text(), "a", "eval"))) == 2


def test_a_missing_file(tmp_path: Path) -> None:
    cache = CodeCache()
    with pytest.raises(ZeroDivisionError):
        cache.get(str(tmp_path / "gone.py"), lambda: 1 / 0)  # type: ignore[arg-type,return-value]


def test_when_bytecode_counts(tmp_path: Path) -> None:
    source, bytecode = tmp_path / "a.py", tmp_path / "a.pyc"
    source.write_text("1")
    assert not bytecode_is_newer(str(source), str(bytecode))  # just written: none is made
    bytecode.write_text("")
    assert not bytecode_is_newer(str(source), str(bytecode))
    future = time.time() + 100
    set_times(bytecode, future)
    assert bytecode_is_newer(str(source), str(bytecode))
    set_times(source, future + 100)  # the time of the change counts, which cannot be set
    assert bytecode_is_newer(str(source), str(bytecode))
    assert not bytecode_is_newer(str(tmp_path / "gone.py"), str(bytecode))
