"""The tests of a2wsgi and asgiref for their own bridges, run against ours.

Nobody here wrote them; they come from the source distributions and are never committed. Where ours
does something else, this says what and why.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import inspect
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final
from unittest import mock

import pytest
from starlette.types import Receive, Scope, Send

from gateway.execution.wsgi.environ import build_environ
from tests.execution.wsgi.asgi import Application, bridge
from tests.integration.cache import cached
from tests.integration.programs import run

AT_ONCE: Final = (
    "what is complete crosses over in one piece, and has a Content-Length (RFC 9110, section 8.6)"
)
NO_SCOPE: Final = "the scope is not handed on, and SCRIPT_NAME is not the process's"

CORPORA: Final = {
    "a2wsgi==1.10.10": {
        "test_build_environ": NO_SCOPE,
        "test_build_environ_with_env": NO_SCOPE,
        "test_wsgi_exc_info": "an error that the application has answered is its own affair; "
        "a2wsgi raises it all the same (PEP 3333, 'Error Handling')",
        "test_wsgi_exception": "what an application raises comes to the event loop as text",
    },
    "asgiref==3.13.0": {
        "test_basic_wsgi": AT_ONCE,
        "test_wsgi_path_encoding": AT_ONCE,
        "test_wsgi_empty_body": AT_ONCE,
        "test_wsgi_clamped_body": "a body longer than its Content-Length is an error, not cut "
        "(PEP 3333, 'Handling the Content-Length Header', allows both)",
        "test_wsgi_stops_iterating_after_content_length_bytes": "the application may do something "
        "after its last piece (PEP 3333, the same section, allows both)",
        "test_wsgi_multiple_start_response": AT_ONCE,
        "test_wsgi_multi_body": AT_ONCE,
        "test_duplicate_header_limit": "`GATEWAY_MAX_HEADERS` bounds all headers of a request",
        "test_duplicate_header_limit_disabled": "the same",
    },
}


class OnOurs:
    """Stands for the class under test: an ASGI application of ours around the WSGI one."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with bridge(self._app) as served:
            await served(scope, receive, send)


def corpus(requirement: str) -> ModuleType:
    """The module ``tests/test_wsgi.py`` of a source distribution, with our bridge in it."""

    def download(draft: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
        name = requirement.partition("==")[0]
        options = ["--no-deps", "--no-binary", name, "--dest", draft, requirement]
        run([*pip, *options], folder=draft)
        (archive,) = draft.glob("*.tar.gz")
        with tarfile.open(archive) as source:
            (member,) = (m for m in source.getmembers() if m.name.endswith("/tests/test_wsgi.py"))
            file = source.extractfile(member)
            assert file is not None
            (draft / "test_wsgi.py").write_bytes(file.read())
        archive.unlink()

    path = cached("wsgi-corpus", [requirement], download) / "test_wsgi.py"
    spec = importlib.util.spec_from_file_location("corpus", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Theirs is marked for a plugin that is not here.
    with mock.patch.object(pytest, "mark", SimpleNamespace(asyncio=lambda test: test)):
        spec.loader.exec_module(module)
    ours = {
        "WSGIMiddleware": OnOurs,
        "WsgiToAsgi": OnOurs,
        "build_environ": lambda scope, body: build_environ(scope, body, None, sys.stderr),
    }
    for name in ours.keys() & vars(module).keys():
        setattr(module, name, ours[name])
    return module


def passes(test: Callable[[], Any]) -> bool:
    with contextlib.suppress(Exception, pytest.fail.Exception):
        asyncio.run(test())
        return True
    return False


@pytest.mark.parametrize("requirement", CORPORA)
def test_each_difference_is_known(requirement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCRIPT_NAME", raising=False)
    module = corpus(requirement)
    # Those that are no coroutines call parts of their bridge by themselves.
    tests = {name: test for name, test in vars(module).items() if inspect.iscoroutinefunction(test)}
    assert len(tests) >= 6
    assert {name for name, test in tests.items() if not passes(test)} == set(CORPORA[requirement])
