"""Whatever is wrong with a deploy, the old code answers everybody, and the operator learns why.

Each failure under steady load, with one worker and with three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from .actions import append, reload
from .servers import PROTOCOL, Gateway
from .sites import BuiltSite, tiny_site
from .visitors import Visitors, wait_for_workers
from .waiting import until

LOAD_TIMEOUT: Final = 3

Undo = Callable[[], object]


@dataclass(frozen=True)
class Failure:
    """A way to break a site: what is done, what the operator reads, and where it points to."""

    do: Callable[[Gateway, BuiltSite], Undo]
    reason: str
    place: str = ""
    status: int = 500


def _appended(file: str, code: str) -> Callable[[Gateway, BuiltSite], Undo]:
    return lambda _, site: append(site, file, f"\n{code}\n")


def _without(name: str) -> Callable[[Gateway, BuiltSite], Undo]:
    def do(gateway: Gateway, site: BuiltSite) -> Undo:
        there, aside = site.folder / name, site.folder.parent / "aside"
        there.rename(aside)
        return lambda: aside.rename(there)

    return do


def _bad_file(gateway: Gateway, site: BuiltSite) -> Undo:
    before = gateway.sites
    gateway.write_text('{"sites": {"steady": {"pth": 1}}}')
    return lambda: gateway.write_sites(before)


FAILURES: Final = {
    "a syntax error": Failure(
        _appended("core/views.py", "def broken(:"), "SyntaxError", "core/views.py"
    ),
    "an exception at import": Failure(
        _appended("core/urls.py", "raise LookupError('nothing')"),
        "LookupError: nothing",
        "core/urls.py",
    ),
    "sys.exit() at import": Failure(
        _appended("core/wsgi.py", "import sys; sys.exit(3)"), "SystemExit: 3", "core/wsgi.py"
    ),
    "a missing dependency": Failure(
        _appended("core/views.py", "import no_such_library"),
        "ModuleNotFoundError: No module named 'no_such_library'",
        "core/views.py",
    ),
    "a release that is half extracted": Failure(
        _without("core/urls.py"), "No module named 'core.urls'"
    ),
    "a folder that is gone": Failure(_without("."), "there is no folder", status=422),
    "a first page that fails": Failure(
        _appended("core/views.py", "def front(request): raise LookupError('no template')"),
        "the probe GET / was answered 500",
    ),
    "an import that hangs": Failure(
        _appended("core/views.py", "import threading; threading.Event().wait()"),
        f"it did not load within {LOAD_TIMEOUT} s",
        "core/views.py",
    ),
    "a faulty sites.json": Failure(_bad_file, "unknown key", status=422),
}


@pytest.fixture(scope="module", params=[1, 3], ids=["one worker", "three workers"])
def gateway(
    request: pytest.FixtureRequest, site: BuiltSite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """It has loaded the site in every worker."""
    count: int = request.param
    options = ("--workers", str(count), *PROTOCOL) if count > 1 else PROTOCOL
    folder = tmp_path_factory.mktemp("gateway")
    with Gateway(folder, {site.name: site.entry}, options=options) as running:
        wait_for_workers(running, site, count)
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    site = tiny_site(tmp_path_factory.mktemp("sites"), "steady")
    limits = {"load_timeout": LOAD_TIMEOUT}
    return BuiltSite(site.name, {**site.entry, "limits": limits})


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_the_old_code_goes_on_until_the_next_good_reload(
    gateway: Gateway, site: BuiltSite, failure: Failure
) -> None:
    with Visitors(gateway, site) as visitors:
        undo = failure.do(gateway, site)
        try:
            answer = reload(gateway)
            assert (answer.status_code, failure.reason in answer.text) == (failure.status, True), (
                answer.text
            )
            until(lambda: gateway.health()["status"] == "degraded", "somebody says what is wrong")
            if answer.status_code == 500:
                _is_explained(gateway, failure)
        finally:
            undo()
        assert reload(gateway).status_code == 200
        until(lambda: gateway.health()["status"] == "ok", "all is well again")
    assert visitors.lost == []
    assert visitors.answers > 0


def _is_explained(gateway: Gateway, failure: Failure) -> None:
    """Whichever worker is asked: one of them knows the place, and all know the reason."""
    entries = gateway.operator().get("/_history?limit=1").json()["entries"]
    assert failure.reason in entries[0]["reason"]
    told = []

    def knows() -> bool:
        told.append(gateway.health("steady"))
        return bool(told[-1]["error"])

    until(knows, "the worker that was asked first has been asked again")
    assert told[-1]["state"] == "ready"
    assert failure.reason in told[-1]["error"]
    assert failure.place in told[-1]["traceback"]
