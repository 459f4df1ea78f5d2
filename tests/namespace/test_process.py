"""The changes to the process, and that nothing stays of them."""

from __future__ import annotations

import _frozen_importlib
import _posixsubprocess
import contextlib
import gc
import os
import subprocess
import sys
import threading
import typing
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest

from gateway.namespace import Namespace, installed

from .venvs import SO, dist, make_venv
from .worlds import load, write


def state() -> dict[str, Any]:
    """Whatever the hooks may touch."""
    return {
        "modules": dict(sys.modules),
        "meta_path": list(sys.meta_path),
        "path": list(sys.path),
        "argv": list(sys.argv),
        "environ": dict(os.environ),
        "environ class": type(os.environ),
        "environb class": type(os.environb),
        "typing class": type(typing),
        "functions": [
            (holder, name, holder.__dict__[name])
            for holder in (
                os,
                sys,
                subprocess,
                threading,
                threading.Thread,
                typing,
                warnings,
                contextlib,
                contextlib.redirect_stdout.__base__,
                _posixsubprocess,
                _frozen_importlib,
            )
            for name in list(vars(holder))
            if callable(vars(holder)[name])
        ],
    }


def differences(before: dict[str, Any]) -> list[Any]:
    """What is not as it was; modules of the standard library may have been imported."""
    after = state()
    new = after["modules"].keys() - before["modules"].keys()
    for name in new:
        if name.partition(".")[0] in sys.stdlib_module_names:
            del after["modules"][name]
    found: list[Any] = [key for key in before if key != "functions" and before[key] != after[key]]
    if "modules" in found:
        found.append(
            sorted(set(after["modules"].items()) ^ set(before["modules"].items()), key=str)
        )
    pairs = zip(before["functions"], after["functions"], strict=True)
    return [*found, *((old[0], old[1]) for old, new_ in pairs if old[2] is not new_[2])]


PROGRAM = {
    "shop/__init__.py": "",
    "shop/models.py": "class Thing: pass",
    "use.py": """
        import asyncio, csv, logging, multiprocessing, os, pickle, queue, sqlite3, subprocess, sys
        import threading, unittest.mock, warnings, concurrent.futures
        from shop.models import Thing
        os.environ["MADE"] = "1"
        sys.path.append("/x")
        pickle._loads(pickle._dumps(Thing()))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(pickle.loads, pickle.dumps(Thing())).result()
        subprocess.run(["/bin/true"])
        warnings.simplefilter("ignore")
        """,
}


def test_everything_is_as_before(tmp_path: Path) -> None:
    write(tmp_path, PROGRAM)
    before = state()
    for _ in range(2):
        with installed():
            for name in "ab":
                namespace = Namespace(name, path=[tmp_path])
                namespace.import_module("use")
                assert namespace.close() == []
        assert differences(before) == []


def test_also_after_an_error(tmp_path: Path) -> None:
    write(tmp_path, {**PROGRAM, "broken.py": "import use\n1 / 0"})
    before = state()
    with pytest.raises(ZeroDivisionError), installed():
        Namespace("a", path=[tmp_path]).import_module("broken")
    assert differences(before) == []


def test_not_reentrant() -> None:
    with installed():
        with pytest.raises(RuntimeError), installed():
            pass  # pragma: no cover
        assert type(os.environ).__name__ == "_DispatchingEnviron"
    with installed():
        pass


def test_what_others_have_replaced_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with installed():
        monkeypatch.setattr(sys, "displayhook", repr)
    assert sys.displayhook is repr


def test_a_namespace_that_outlives_the_hooks(tmp_path: Path) -> None:
    """It goes on without those parts that need them, and has them again with the next."""
    write(tmp_path, PROGRAM)
    with installed():
        namespace = Namespace("a", path=[tmp_path], environ={"HOME": "/there"})
        namespace.import_module("shop.models")
    assert namespace.import_module("shop").models.Thing
    look = """
        import os.path, sys, typing
        from shop.models import Thing
        class Box:
            thing: "Thing"
            __module__ = "shop.models"
        home, hints = os.path.expanduser("~"), typing.get_type_hints(Box)
        """
    with installed():
        found = load(namespace, look)
        assert found["home"] == "/there"
        assert found["hints"] == {"thing": found["Thing"]}


def test_what_a_unit_has_replaced_is_so_again_with_the_next(tmp_path: Path) -> None:
    """Units outlive the hooks and are not executed again."""
    files = dist("demo", "3", files=("demo/__init__.py", f"demo/x{SO}"))
    files["demo/__init__.py"] = "import typing\ndef mine(thing): return 3\ntyping.cast = mine"
    venv = make_venv(tmp_path / "venv", files)
    before = typing.cast
    for _ in range(2):
        with installed():
            found = load(Namespace("a", venv=venv), "import demo, typing\ncast = typing.cast(1)")
            assert found["cast"] == 3
        assert typing.cast is before


def test_the_environment_of_the_process_still_works() -> None:
    with installed():
        os.environ["GATEWAY_PROBE"] = "1"
        assert os.getenv("GATEWAY_PROBE") == "1" == os.environb[b"GATEWAY_PROBE"].decode()
        command = ["/bin/sh", "-c", "echo $GATEWAY_PROBE"]
        assert subprocess.check_output(command, text=True).strip() == "1"
        del os.environ["GATEWAY_PROBE"]
        assert "GATEWAY_PROBE" not in os.environ
        with pytest.raises(KeyError):
            os.environ["GATEWAY_PROBE"]
        assert subprocess.check_output(command, text=True).strip() == ""
        assert os.waitstatus_to_exitcode(os.system("exit 3")) == 3


def test_it_goes_while_the_hooks_go(tmp_path: Path) -> None:
    write(tmp_path, PROGRAM)
    with installed():
        namespace = Namespace("short", path=[tmp_path])
        namespace.import_module("shop.models")
        gone = weakref.ref(namespace)
        del namespace
    gc.collect()
    assert gone() is None
    assert not [name for name in sys.modules if name.startswith("shop")]
