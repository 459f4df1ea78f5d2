"""Registries of shared code: each of two namespaces has its own entries, which go with it."""

from __future__ import annotations

import codecs
import copy
import gc
import http.client
import json
import shutil
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gateway.namespace import Namespace

from .worlds import Program, assert_it_goes, load

pytestmark = pytest.mark.usefixtures("hooks")

Pair = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture
def both(hooks: None) -> Iterator[Callable[[str], Pair]]:
    """Runs a piece of code in two namespaces, in which ``NAME`` differs."""
    namespaces = [Namespace(name, environ={"HOME": f"/{name}"}) for name in ("a", "b")]

    def run(source: str) -> Pair:
        first, second = (load(space, f"NAME = {space.name!r}\n{source}") for space in namespaces)
        return first, second

    yield run
    for namespace in namespaces:
        assert namespace.close() == []


ENCODING = """
import codecs
def search(name):
    if name == "ours":
        return codecs.CodecInfo(
            lambda text, errors="strict": (NAME.encode(), len(text)),
            lambda data, errors="strict": (NAME + bytes(data).decode(), len(data)),
            incrementaldecoder=lambda errors="strict": codecs.getincrementaldecoder("utf-8")(),
            name="ours",
        )
codecs.register(search)
def encode(): return "x".encode("ours")
def decode(): return b"x".decode("ours")
"""


def test_encodings(both: Callable[[str], Pair]) -> None:
    a, b = both(ENCODING)
    assert [a["encode"](), b["encode"](), a["encode"]()] == [b"a", b"b", b"a"]
    assert [a["decode"](), b["decode"]()] == ["ax", "bx"]
    with pytest.raises(LookupError, match="unknown encoding: ours"):
        "x".encode("ours")
    b["codecs"].unregister(b["search"])
    with pytest.raises(LookupError, match="unknown encoding: ours"):
        b["encode"]()
    assert a["encode"]() == b"a"


def test_handlers_of_encoding_errors(both: Callable[[str], Pair]) -> None:
    a, b = both(
        "import codecs\n"
        "codecs.register_error('ours', lambda error: (NAME, error.end))\n"
        "def encode(): return '\\xe9'.encode('ascii', 'ours')"
    )
    assert [a["encode"](), b["encode"]()] == [b"a", b"b"]
    assert codecs.lookup_error("strict") is a["codecs"].lookup_error("strict")
    with pytest.raises(LookupError, match="unknown error handler name 'ours'"):
        "\xe9".encode("ascii", "ours")


def test_a_handler_in_the_place_of_one_of_python(both: Callable[[str], Pair]) -> None:
    a, b = both(
        "import codecs\n"
        "if NAME == 'a':\n"
        "    codecs.register_error('namereplace', lambda error: (NAME, error.end))\n"
        "def encode(): return '\\xe9'.encode('ascii', 'namereplace')"
    )
    assert a["encode"]() == b"a"
    pythons = rb"\N{LATIN SMALL LETTER E WITH ACUTE}"
    assert [b["encode"](), "\xe9".encode("ascii", "namereplace")] == [pythons, pythons]


def test_encodings_as_in_python(program: Program) -> None:
    files = {"text.txt": b"x"}
    main = """
        import codecs, io, os
        def search(name):
            if name == "ours":
                info = codecs.lookup("utf-8")
                return codecs.CodecInfo(
                    lambda text, errors="strict": (b"ours", len(text)), info.decode,
                    info.streamreader, info.streamwriter,
                    info.incrementalencoder, info.incrementaldecoder, name="ours")
        for bad in (codecs.register, lambda x: codecs.register_error("x", x)):
            try:
                bad(1)
            except TypeError as exc:
                result = [str(exc)]
        codecs.register(search)
        folder = os.path.dirname(os.path.abspath(__file__))
        path = os.path.join(folder, "text.txt")
        with open(path, encoding="ours") as file:
            result.append(file.read())
        with codecs.open(path, encoding="ours") as file:
            result.append(file.read())
        result.append("x".encode("ours").decode())
        codecs.unregister(search)
        try:
            "x".encode("ours")
        except LookupError as exc:
            result.append("unknown encoding: ours" in str(exc))
        """
    expected = ["handler must be callable", "x", "x", "ours", True]
    assert program(files, main) == expected


def test_prefixes_of_element_tree(both: Callable[[str], Pair]) -> None:
    a, b = both(
        "from xml.etree import ElementTree as tree\n"
        "tree.register_namespace(NAME, 'urn:ours')\n"
        "def write(): return tree.tostring(tree.Element('{urn:ours}x')).decode()"
    )
    assert a["write"]() == '<a:x xmlns:a="urn:ours" />'
    assert b["write"]() == '<b:x xmlns:b="urn:ours" />'
    plain = ElementTree.tostring(ElementTree.Element("{urn:ours}x")).decode()
    assert plain == '<ns0:x xmlns:ns0="urn:ours" />'


def test_formats_of_archives(both: Callable[[str], Pair], tmp_path: Path) -> None:
    before = shutil.get_archive_formats(), shutil.get_unpack_formats()
    a, b = both(
        "import shutil\n"
        "shutil.register_archive_format('ours', lambda *args, **kwargs: NAME)\n"
        "shutil.register_unpack_format('ours', ['.ours'], lambda *args: seen.append(NAME))\n"
        "seen = []\n"
        "def make(name): return shutil.make_archive(name, 'ours')\n"
        "def unpack(name): shutil.unpack_archive(name)"
    )
    made = tmp_path / "made.ours"
    made.touch()
    for variables in (a, b):
        variables["unpack"](str(made))
        assert variables["make"](str(made)) == variables["NAME"]
    assert [a["seen"], b["seen"]] == [["a"], ["b"]]
    assert (shutil.get_archive_formats(), shutil.get_unpack_formats()) == before


class InTheProcess:
    @typing.overload
    @classmethod
    def make(cls, x: int) -> int: ...
    @typing.overload
    @classmethod
    def make(cls, x: str) -> str: ...
    @classmethod
    def make(cls, x: typing.Any) -> typing.Any:
        return x


def test_overloads(both: Callable[[str], Pair]) -> None:
    a, b = both(
        "import typing\n"
        "@typing.overload\n"
        "def f(x=NAME): ...\n"
        "def f(x): return x\n"
        "found = [each.__defaults__[0] for each in typing.get_overloads(f)]\n"
        "if NAME == 'b': typing.clear_overloads()\n"
        "def count(): return len(typing.get_overloads(f))"
    )
    assert [a["found"], b["found"]] == [["a"], ["b"]]
    assert [a["count"](), b["count"]()] == [1, 0]


def test_threads_that_threading_knows_nothing_of(both: Callable[[str], Pair]) -> None:
    """As by ``_thread``, with nothing on their stack but shared code."""
    a, b = both(
        "import _thread, collections, os.path\n"
        "found, done = collections.deque(), _thread.allocate_lock()\n"
        "done.acquire()\n"
        "def look():\n"
        "    _thread.start_new_thread(run, (found.extend, map(os.path.expanduser, '~')))\n"
        "    assert done.acquire(timeout=20)\n"
        "    return list(found)\n"
    )
    for variables in (a, b):
        variables["run"] = a_function_of_shared_code(variables["done"])
        assert variables["look"]() == ["/" + variables["NAME"]]


def a_function_of_shared_code(done: Any) -> Callable[..., None]:
    """Calls a function with the arguments that follow it, then lets ``done`` go."""
    scope: dict[str, Any] = {"__name__": "json", "done": done}
    exec("def run(function, *args):\n    function(*args)\n    done.release()", scope)
    run: Callable[..., None] = scope["run"]
    return run


def test_start_new_thread_as_in_python(program: Program) -> None:
    main = """
        import _thread
        result = []
        for args in ((1, ()), (print, []), (print, (), [])):
            try:
                _thread.start_new_thread(*args)
            except TypeError as exc:
                result.append(str(exc))
        done = _thread.allocate_lock()
        done.acquire()
        def work(value, *, more):
            result.append([value, more])
            done.release()
        _thread.start_new_thread(work, (1,), {"more": 2})
        done.acquire(timeout=20)
        """
    *errors, called = program({}, main)
    assert called == [1, 2]
    assert [error.split()[0] for error in errors] == ["first", "2nd", "optional"]


def test_what_would_watch_everybody(both: Callable[[str], Pair]) -> None:
    before = list(gc.callbacks)
    seen: list[Any] = []
    for variables in both("import gc, sys"):
        variables["sys"].addaudithook(lambda *args: seen.append(args))
        variables["gc"].callbacks.append(seen.append)
    gc.collect()
    sys.audit("gateway.sites.probe")
    assert seen == []
    assert gc.callbacks == before


CLASS = "class Thing:\n    def method(self): ...\n"
LEFT_BEHIND = {
    "caches of typing": "import typing\ntyping.List[Thing], typing.Optional[Thing]",
    "overloads": "import typing\n@typing.overload\ndef f(x): ...",
    "encodings": "NAME = 'short'\n" + ENCODING + "encode()",
    "error handlers": "import codecs\ncodecs.register_error('ours', lambda e: ('', e.end))",
    "how to copy": "import copy\ncopy._deepcopy_dispatch[Thing] = lambda thing, memo: thing",
    "how to print": "import pprint\npprint.PrettyPrinter._dispatch[Thing.method] = Thing.method",
    "headers of mail": "import email.policy\nThing.max_count = 1\n"
    "email.policy.default.header_factory.map_to_type('x-ours', Thing)",
    "implementations of the DOM": "import xml.dom\n"
    "xml.dom.registerDOMImplementation('ours', Thing)",
    "browsers": "import webbrowser\nwebbrowser.register('ours', Thing)",
    "archives": "import shutil\nshutil.register_archive_format('ours', lambda *args: None)",
    "callbacks of the collector": "import gc\ngc.callbacks.append(lambda *args: None)",
    "audit hooks": "import sys\nsys.addaudithook(lambda *args: None)",
    "filters of warnings that C code has read": "import warnings\n"
    "class Careful(Thing, Warning): ...\n"
    "with warnings.catch_warnings():\n"
    "    warnings.simplefilter('ignore')\n    warnings.simplefilter('ignore', Careful)\n"
    "    compile('1 is 1', '<code>', 'eval')",
    "finalizers": "import weakref\nthing = Thing()\nweakref.finalize(thing, thing.method)",
    "a class in a shared class": "import http.client\n"
    "http.client.HTTPConnection.response_class = Thing",
    "an instance in a shared module": "import json\njson.JSONEncoder = Thing()",
}


@pytest.mark.parametrize("what", LEFT_BEHIND)
def test_nothing_of_it_keeps_a_namespace(hooks: None, what: str) -> None:
    def make() -> Namespace:
        namespace = Namespace("short")
        load(namespace, CLASS + LEFT_BEHIND[what])
        return namespace

    assert_it_goes(make)


def test_what_others_have_there_stays(both: Callable[[str], Pair]) -> None:
    key, function = type("Key", (), {}), lambda value, memo: value
    dispatch: dict[Any, Any] = copy._deepcopy_dispatch  # type: ignore[attr-defined]
    source = CLASS + LEFT_BEHIND["how to copy"] + "\ndef same(): return copy.deepcopy(x) is x"
    _, b = both(source + "\nx = Thing()")
    dispatch[key] = function
    try:
        short = Namespace("short")
        load(short, CLASS + LEFT_BEHIND["how to copy"])
        short.close()
        assert dispatch[key] is function
        assert b["same"]()
    finally:
        del dispatch[key]


def test_finalizers_run_at_the_unload(hooks: None) -> None:
    namespaces = [Namespace(name) for name in ("a", "b")]
    found = [
        load(
            space,
            CLASS + "import weakref\nseen, things = [], [Thing() for _ in range(4)]\n"
            "def note(number): seen.append(number)\n"
            "def fail(): raise LookupError('of a finalizer')\n"
            "for number, thing in enumerate(things[:3]):\n"
            "    weakref.finalize(thing, note, number).atexit = number != 1\n"
            "weakref.finalize(things[3], fail)",
        )
        for space in namespaces
    ]
    (error,) = namespaces[0].close()
    assert str(error) == "of a finalizer"
    assert found[0]["seen"] == [2, 0]
    assert found[1]["seen"] == []
    del found[0]["things"][:]
    assert found[0]["seen"] == [2, 0]
    assert [str(each) for each in namespaces[1].close()] == ["of a finalizer"]


def test_the_unload_goes_on_after_an_entry_that_raises(hooks: None) -> None:
    dispatch: dict[Any, Any] = copy._deepcopy_dispatch  # type: ignore[attr-defined]
    namespace = Namespace("a")
    load(
        namespace,
        "import copy, json\n"
        "class Key:\n"
        "    hashed = False\n"
        "    def __hash__(self):\n"
        "        if self.hashed: raise KeyboardInterrupt\n"
        "        return 5\n"
        "key = Key()\n"
        "copy._deepcopy_dispatch[key] = None\n"
        "Key.hashed = True\n"
        "json.JSONEncoder.default = lambda self, value: str(value)\n",
    )
    before = json.JSONEncoder.default
    namespace.confine_patches()
    errors = namespace.close()
    assert [type(error) for error in errors] == [KeyboardInterrupt]
    assert json.JSONEncoder.default is not before
    assert namespace not in Namespace.alive()
    key = next(each for each in dispatch if type(each).__name__ == "Key")
    type(key).hashed = False
    del dispatch[key]


def test_what_is_replaced_after_the_load_goes_with_the_namespace(hooks: None) -> None:
    before = json.JSONEncoder.default, http.client.HTTPConnection.response_class
    namespaces = [Namespace(name) for name in ("a", "b")]
    source = """
        import json, http.client
        def replace(): json.JSONEncoder.default = lambda self, value: str(value)
        class Response(http.client.HTTPResponse):
            def close(self): ...
        http.client.HTTPConnection.response_class = Response
        """
    found = [load(space, source) for space in namespaces]
    for space in namespaces:
        space.confine_patches()
    found[0]["replace"]()
    namespaces[1].close()
    assert json.JSONEncoder.default is not before[0]
    namespaces[0].close()
    assert json.JSONEncoder.default is before[0]
    assert http.client.HTTPConnection.response_class is before[1]
