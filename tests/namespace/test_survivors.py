"""What is left of a namespace, and code that kept one for ever."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

from gateway.namespace import Namespace
from gateway.namespace.survivors import Trace
from tests.integration.cache import virtual_environment

from .worlds import write

pytestmark = pytest.mark.usefixtures("hooks")


def test_native_code_keeps_nothing_of_the_site_that_imports_it_first() -> None:
    venv = virtual_environment(["charset-normalizer~=3.4.0"])  # compiled by mypyc
    namespace = Namespace("shop", venv=venv)
    namespace.import_module("logging")
    detector = namespace.import_module("charset_normalizer.md")
    if not str(detector.__file__).endswith(".py"):  # so there is a wheel for this machine
        assert Namespace("blog", venv=venv).import_module("charset_normalizer.md") is detector
    trace = Trace(namespace)
    namespace.close()
    del namespace, detector
    gc.collect()
    assert not trace.alive, trace.holder()


def test_a_leaked_function_alone_is_seen(tmp_path: Path) -> None:
    write(tmp_path, {"shop.py": "def price(): return 1\n"})
    namespace = Namespace("shop", path=[tmp_path])
    trace = Trace(namespace)
    vars(threading)["LEAK"] = {"prices": [namespace.import_module("shop").price]}
    try:
        namespace.close()
        del namespace
        gc.collect()
        assert trace.alive
        path = "module threading → LEAK (dict) → prices (list) → [0] (function shop.price)"
        assert trace.holder() == path
    finally:
        del vars(threading)["LEAK"]
    gc.collect()
    assert not trace.alive
