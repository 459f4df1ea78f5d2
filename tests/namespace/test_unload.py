"""A namespace that nobody holds any more goes, with all it loaded."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

import pytest

from gateway.namespace import Namespace, callers
from gateway.namespace.codecache import CODE

from .worlds import assert_it_goes, load, write

SOURCE = {
    "empty": "",
    "modules": "import shop.models, shop.views",
    "standard library": "import argparse, asyncio, csv, decimal, email, importlib.util, inspect, "
    "json, logging.config, multiprocessing, pkgutil, random, runpy, socket, sqlite3, tempfile, "
    "threading, time, unittest.mock, urllib.request, warnings, xml.etree.ElementTree, zipfile",
    "pickle": "import pickle, shop.models\n"
    "pickle.loads(pickle.dumps(shop.models.Thing()))\n"
    "pickle._loads(pickle._dumps(shop.models.Thing()))\n"
    "pickle._loads(b'cshop.views\\nview\\n.')",
    "dataclasses": "import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: 'int'\nA(1)",
    "caches of typing": "import typing\nclass A:\n    @typing._tp_cache\n"
    "    def __getitem__(self, key): return key\nA()[1]",
    "enum": "import enum\nclass A(enum.Enum):\n    X = 1",
    "threads": "import threading\nfrom concurrent.futures import ThreadPoolExecutor\n"
    "thread = threading.Thread(target=len, args=('',))\nthread.start()\nthread.join()\n"
    "with ThreadPoolExecutor(2) as pool:\n    pool.submit(len, '').result()",
    "process pools": "import concurrent.futures\nconcurrent.futures.ProcessPoolExecutor",
    "asyncio": "import asyncio\nasync def main(): await asyncio.sleep(0)\nasyncio.run(main())",
    "an error": "import logging, traceback\ntry:\n    import shop.gone\nexcept ImportError:\n"
    "    traceback.format_exc()",
    "a traceback": "import linecache, traceback, shop.views\ntry:\n    shop.views.fail()\n"
    "except ValueError as exc:\n    traceback.TracebackException.from_exception(exc, "
    "lookup_lines=False)\n    str(traceback.extract_tb(exc.__traceback__))",
    "lines that nobody has asked for": "import linecache, shop.views\n"
    "assert linecache.lazycache(shop.views.__file__, vars(shop.views))",
    "registrations": "import atexit, copyreg, os, signal, sqlite3, threading, shop.models\n"
    "atexit.register(shop.models.Thing)\nos.register_at_fork(before=shop.models.Thing)\n"
    "signal.signal(signal.SIGTERM, lambda *a: None)\n"
    "copyreg.pickle(shop.models.Thing, lambda t: (shop.models.Thing, ()))\n"
    "sqlite3.register_adapter(shop.models.Thing, str)\n"
    "sqlite3.register_converter('thing', shop.models.Thing)\n"
    "threading.excepthook = lambda args: None",
    "logging": "import logging, logging.config, io\nlogging.basicConfig(stream=io.StringIO())\n"
    "logging.getLogger('x').warning('y')\nlogging.config.dictConfig({'version': 1})",
    "mock": "from unittest.mock import patch\nimport os\nwith patch.dict(os.environ, A='1'), "
    "patch('shop.models.Thing'):\n    pass",
    "reload": "import importlib, json, shop.models\nimportlib.reload(json)\n"
    "importlib.reload(shop.models)",
    "a fresh copy": "import sys, importlib\nsys.modules.pop('xml.etree.ElementTree', None)\n"
    "sys.modules['_elementtree'] = None\nimportlib.import_module('xml.etree.ElementTree')",
    "inspect": "import inspect, shop.models\ninspect.getmodule(shop.models.Thing)\n"
    "inspect.getsource(shop.models.Thing)\ninspect.stack()",
    "a zip file": "import sys\nsys.path.append('/gone.zip')\nimport shop.models",
    "warnings": "import warnings\nwith warnings.catch_warnings(record=True):\n"
    "    warnings.simplefilter('always')\n    warnings.warn('x', DeprecationWarning)",
}
FILES = {
    "shop/__init__.py": "",
    "shop/models.py": "class Thing: pass",
    "shop/views.py": "from shop import models\ndef view(): ...\ndef fail(): raise ValueError",
}


@pytest.mark.parametrize("what", SOURCE)
def test_it_goes(hooks: None, tmp_path: Path, what: str) -> None:
    write(tmp_path, FILES)

    def make() -> Namespace:
        namespace = Namespace("short", path=[tmp_path], environ={"A": "1"})
        load(namespace, SOURCE[what])
        return namespace

    assert_it_goes(make)


def test_after_a_failed_load(hooks: None, tmp_path: Path) -> None:
    write(tmp_path, {"shop/__init__.py": "from . import models", "shop/models.py": "1 / 0"})
    namespace = Namespace("short", path=[tmp_path])
    with pytest.raises(ZeroDivisionError):
        namespace.import_module("shop")
    gone = weakref.ref(namespace)
    del namespace
    gc.collect()
    assert gone() is None


def test_two_of_which_one_goes(hooks: None, tmp_path: Path) -> None:
    """The other goes on, with everything it has registered."""
    write(tmp_path, FILES)
    source = SOURCE["registrations"] + "\nimport pickle\ndef again(): return pickle.loads("
    source += "pickle.dumps(shop.models.Thing()))"
    spaces = [Namespace(name, path=[tmp_path]) for name in "ab"]
    found = [load(space, source) for space in spaces]
    gone = weakref.ref(spaces[0])
    spaces[0].close()
    del spaces[0]
    found.pop(0)
    gc.collect()
    assert gone() is None
    assert type(found[0]["again"]()) is found[0]["shop"].models.Thing
    spaces[0].close()


def test_a_thread_that_goes_on_keeps_it(hooks: None) -> None:
    namespace = Namespace("short")
    source = """
        import threading
        done = threading.Event()
        def work():
            done.wait(20)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        """
    variables = load(namespace, source)
    done, thread = variables["done"], variables["thread"]
    gone = weakref.ref(namespace)
    del namespace, variables
    gc.collect()
    alive = gone()
    assert alive is not None
    assert callers.thread_owner(thread.ident) is alive
    done.set()
    thread.join()
    del alive, thread
    gc.collect()
    assert gone() is None


def test_nothing_piles_up(hooks: None, tmp_path: Path) -> None:
    """Neither namespaces nor what is kept for them."""
    write(tmp_path, FILES)

    def once() -> tuple[int, int, int]:
        namespace = Namespace("short", path=[tmp_path])
        load(namespace, SOURCE["modules"])
        namespace.close()
        del namespace
        gc.collect()
        return len(Namespace.alive()), len(callers._domains), len(CODE._codes)

    once()
    counts = {once() for _ in range(3)}
    assert len(counts) == 1
    assert threading.active_count() < 50
