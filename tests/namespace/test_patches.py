"""What a site replaces in shared standard-library code is replaced for that site alone."""

from __future__ import annotations

import gc
import http.client
import http.cookiejar
import json
import os
import ssl
import subprocess
import threading
import typing
import weakref
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gateway.namespace import Namespace

from .venvs import SO, dist, make_venv

pytestmark = pytest.mark.usefixtures("hooks")

COUNTING = """
import http.client, subprocess, threading
calls = []

def wrap(cls, name):
    original = getattr(cls, name)
    def wrapper(self, *args, **kwargs):
        calls.append(name)
        return original(self, *args, **kwargs)
    setattr(cls, name, wrapper)

wrap(threading.Thread, "start")
wrap(http.client.HTTPConnection, "putrequest")
wrap(subprocess.Popen, "__init__")

def use():
    calls.clear()
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    subprocess.run(["true"])
    return list(calls)
"""


@pytest.fixture
def make(hooks: None) -> Iterator[Any]:
    made: list[Namespace] = []

    def make(source: str, venv: Path | None = None) -> tuple[Namespace, dict[str, Any]]:
        namespace = Namespace(f"site {len(made)}", environ={"PATH": "/usr/bin:/bin"}, venv=venv)
        made.append(namespace)
        variables: dict[str, Any] = vars(namespace.modules["__main__"])
        exec(dedent(source), variables)
        namespace.confine_patches()
        return namespace, variables

    yield make
    for namespace in made:
        namespace.close()


def test_each_site_sees_its_own_calls_once(make: Any) -> None:
    before = threading.Thread.start, subprocess.Popen.__init__
    first, of_first = make(COUNTING)
    second, of_second = make(COUNTING)
    _, of_other = make("import threading, subprocess" + COUNTING[COUNTING.index("\ndef use") :])
    of_other["calls"] = []
    assert of_first["use"]() == ["start", "__init__"]
    assert of_second["use"]() == ["start", "__init__"]
    assert of_other["use"]() == []
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert of_first["calls"] == of_second["calls"] == ["start", "__init__"]
    first.close()
    assert of_second["use"]() == ["start", "__init__"]
    second.close()
    assert (threading.Thread.start, subprocess.Popen.__init__) == before


def test_a_replaced_function_of_a_shared_module(make: Any) -> None:
    before = ssl._create_default_https_context
    source = """
    import ssl
    def unsafe(*args, **kwargs): return "unverified"
    ssl._create_default_https_context = unsafe
    def ask(): return ssl._create_default_https_context()
    """
    careless, of_careless = make(source)
    assert of_careless["ask"]() == "unverified"
    context = ssl._create_default_https_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    connection = http.client.HTTPSConnection("localhost")
    assert connection._context.verify_mode is ssl.CERT_REQUIRED  # type: ignore[attr-defined]
    careless.close()
    assert ssl._create_default_https_context is before


def test_a_hook_that_was_not_set_is_unset_again(make: Any) -> None:
    called: list[str] = []
    source = """
    import threading
    def hook(*args): raise ValueError("the code of the site")
    threading.setprofile(hook)
    threading.settrace(hook)
    """
    careless, _ = make(source)
    assert (threading.getprofile(), threading.gettrace()) == (None, None)
    thread = threading.Thread(target=called.append, args=["thread"])
    thread.start()
    thread.join()
    assert called == ["thread"]
    careless.close()


def test_a_hook_that_is_no_function_yet_is_unset_again(make: Any) -> None:
    careless, _ = make("import http.cookiejar\nhttp.cookiejar.logger = lambda *args: None")
    assert http.cookiejar.logger is None
    careless.close()


def test_an_object_that_raises_whatever_it_is_asked_for(make: Any) -> None:
    source = """
    import json
    class Lazy:
        def __getattr__(self, name): raise KeyboardInterrupt
    json.of_a_site = Lazy()
    """
    careless, _ = make(source)
    try:
        make("import json")
    finally:
        assert careless.close() == []
        vars(json).pop("of_a_site", None)


def test_a_patched_default_of_json(make: Any) -> None:
    source = """
    import json
    json.JSONEncoder.default = lambda self, value: NAME
    def ask(): return json.dumps(object())
    """
    _, of_first = make(source)
    _, of_second = make(source)
    of_first["NAME"], of_second["NAME"] = "one", "two"
    assert [of_first["ask"](), of_second["ask"]()] == ['"one"', '"two"']
    with pytest.raises(TypeError):
        json.dumps(object())


def test_a_patch_of_typing_is_confined_at_once(hooks: None) -> None:
    """Not only when all is loaded: no class could be defined meanwhile."""
    before = typing.get_type_hints
    namespaces = [Namespace(name) for name in "abc"]
    fake, wrapping, other = (vars(namespace.modules["__main__"]) for namespace in namespaces)
    ask = "import typing\ndef ask(): return typing.get_type_hints(Box)\nclass Box: size: int\n"
    for variables in (fake, wrapping, other):
        exec(ask, variables)
    exec(
        "from unittest import mock\n"
        "patch = mock.patch('typing.get_type_hints', lambda thing: 'mine')\n"
        "patch.start()",
        fake,
    )
    exec(
        "before = typing.get_type_hints\n"
        "def wrap(thing): return ['wrapped', before(thing)]\n"
        "typing.get_type_hints = wrap",
        wrapping,
    )
    assert fake["ask"]() == "mine"
    assert wrapping["ask"]() == ["wrapped", {"size": int}]
    assert other["ask"]() == {"size": int} == typing.get_type_hints(other["Box"])
    fake["patch"].stop()
    assert fake["ask"]() == {"size": int}
    assert wrapping["ask"]() == ["wrapped", {"size": int}]
    for namespace in namespaces:
        namespace.close()
    assert typing.get_type_hints is before


UNIT = """
import json, typing
def hints(thing): return __version__
typing.get_type_hints = hints
json.JSONEncoder.default = lambda self, value: __version__
"""
ASK = """
import json, typing
def ask(): return [typing.get_type_hints(type("Box", (), {})), json.dumps(1j, default=None)]
"""


def test_what_a_unit_replaces_is_for_those_who_have_it(make: Any, tmp_path: Path) -> None:
    """Units are loaded once and used by many sites; another version is another unit."""
    asks = []
    for number, version in enumerate("112"):
        files = dist("demo", version, files=("demo/__init__.py", f"demo/x{SO}"))
        files["demo/__init__.py"] = f"__version__ = {version!r}\n{UNIT}"
        venv = make_venv(tmp_path / str(number), files)
        asks.append(make(f"import demo\n{ASK}", venv)[1]["ask"])
    asks.append(make(ASK)[1]["ask"])
    assert [ask() for ask in asks[:3]] == [["1", '"1"'], ["1", '"1"'], ["2", '"2"']]
    assert typing.get_type_hints(type("Box", (), {"__annotations__": {"a": int}})) == {"a": int}
    for everybody_else in (asks[3], lambda: json.dumps(1j)):
        with pytest.raises(TypeError):
            everybody_else()


def test_a_patch_does_not_keep_its_namespace(hooks: None) -> None:
    namespace = Namespace("site", environ={})
    variables: dict[str, Any] = vars(namespace.modules["__main__"])
    exec(dedent(COUNTING), variables)
    assert "HTTPConnection.putrequest" in namespace.confine_patches()
    namespace.close()
    reference = weakref.ref(namespace)
    del namespace, variables
    gc.collect()
    assert reference() is None


def test_an_attribute_that_is_inherited(make: Any) -> None:
    """For all others it is inherited as before, also when the base has been patched."""
    source = """
    import http.client
    def putrequest(self, *args): return NAME
    http.client.HTTPSConnection.endheaders = putrequest
    def ask(): return http.client.HTTPSConnection("localhost").endheaders("x")
    """
    patching, of_patching = make(source)
    _, of_base = make(source.replace("HTTPSC", "HTTPC", 1))
    of_patching["NAME"], of_base["NAME"] = "one", "two"
    assert [of_patching["ask"](), of_base["ask"]()] == ["one", "two"]
    with pytest.raises(http.client.CannotSendHeader):
        http.client.HTTPSConnection("localhost").endheaders()
    patching.close()
    assert "endheaders" not in vars(http.client.HTTPSConnection)


KINDS = """
import pathlib, threading

pathlib.Path.home = classmethod(lambda cls: ["class", cls.__name__])
pathlib.Path.cwd = staticmethod(lambda: ["static"])
threading.Event.clear = staticmethod(lambda *args: ["static", *args])
threading.Event.set = classmethod(lambda cls: ["class", cls.__name__])

def ask():
    event = threading.Event()
    return [
        pathlib.Path.home(), pathlib.PosixPath.home(), pathlib.Path.cwd(), pathlib.Path().cwd(),
        event.clear(), event.clear(1), event.set(),
    ]
"""


def test_replacements_of_other_kinds(make: Any) -> None:
    """A class method, a static method: bound as under plain Python, and for the site alone."""
    _, variables = make(KINDS)
    assert variables["ask"]() == [
        ["class", "Path"], ["class", "PosixPath"], ["static"], ["static"],
        ["static"], ["static", 1], ["class", "Event"],
    ]  # fmt: skip
    assert (Path.home(), Path.cwd()) == (Path("~").expanduser(), Path(os.getcwd()))
    event = threading.Event()
    event.set()
    assert event.is_set()
    event.clear()
    assert not event.is_set()
