"""What a site replaces in shared standard-library code is replaced for that site alone."""

from __future__ import annotations

import gc
import http.client
import json
import ssl
import subprocess
import threading
import weakref
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import pytest

from gateway.namespace import Namespace

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

    def make(source: str) -> tuple[Namespace, dict[str, Any]]:
        namespace = Namespace(f"site {len(made)}", environ={"PATH": "/usr/bin:/bin"})
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
