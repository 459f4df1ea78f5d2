"""A site that is deployed by flipping a symbolic link, and one whose files change too fast."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .actions import front, reload
from .clients import client_for
from .servers import PROTOCOL, Gateway
from .sites import BuiltSite, copy_project, tiny_site
from .visitors import Visitors, visit
from .waiting import until

TEMPLATES = """
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "DIRS": [BASE_DIR / "pages"],
}]
"""
VIEWS = '''
import importlib
from django.template.loader import render_to_string


def front(request):
    """Says which release each of its parts is of; waits at the gate first, if it is told to."""
    if "gate" in request.GET:
        with open(os.environ["BARRIER"]) as gate:
            gate.read()
    parts = {"code": RELEASE}
    for name, part in {
        "read template": lambda: render_to_string("read.html"),
        "other template": lambda: render_to_string("other.html") if "gate" in request.GET else "",
        "late module": lambda: importlib.import_module("core.late").RELEASE
        if "gate" in request.GET else "",
    }.items():
        try:
            parts[name] = part()
        except Exception as error:
            parts[name] = type(error).__name__
    return JsonResponse(parts)
'''


class Releases:
    """``shop/releases/NAME`` and ``shop/current``, as deploy tools lay them out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        built = tiny_site(folder, "model")
        self._model = built.folder
        settings = self._model / "core/settings.py"
        text = settings.read_text()
        if "BASE_DIR" not in text:
            text += (
                "\nfrom pathlib import Path\nBASE_DIR = Path(__file__).resolve().parent.parent\n"
            )
        settings.write_text(text + TEMPLATES)
        views = self._model / "core/views.py"
        views.write_text(views.read_text() + VIEWS)
        (self._model / "pages").mkdir()
        self.gate = folder / "gate"
        os.mkfifo(self.gate)
        self.make("first")
        self.flip("first")
        env = {**built.entry["env"], "BARRIER": str(self.gate)}
        self.site = BuiltSite("model", {**built.entry, "path": str(self.current), "env": env})

    @property
    def current(self) -> Path:
        return self._folder / "current"

    def make(self, name: str) -> Path:
        """Lay a release down."""
        release = copy_project(self._model, self._folder / "releases" / name)
        views = release / "core/views.py"
        views.write_text(views.read_text().replace('RELEASE = "first"', f'RELEASE = "{name}"'))
        (release / "core/late.py").write_text(f"RELEASE = {name!r}\n")
        for page in ("read", "other"):
            (release / f"pages/{page}.html").write_text(name)
        return release

    def flip(self, name: str) -> None:
        """Let ``current`` be another release, at once."""
        draft = self._folder / "current~"
        draft.symlink_to(self._folder / "releases" / name)
        draft.replace(self.current)

    @contextmanager
    def closed_gate(self) -> Iterator[None]:
        """From when a request waits at the gate, until the end of the block."""
        writer = until(self._open_gate, "a request waits at the gate")
        try:
            yield
        finally:
            os.close(writer)

    def _open_gate(self) -> int | None:
        try:
            return os.open(self.gate, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO, error  # nobody has the other end yet; see fifo(7)
            return None


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path)


@pytest.fixture
def gateway(releases: Releases, tmp_path: Path) -> Iterator[Gateway]:
    home = tmp_path / "gateway"
    home.mkdir()
    with Gateway(home, {releases.site.name: releases.site.entry}, options=PROTOCOL) as running:
        yield running


def test_flipping_the_link_deploys_and_flipping_back_rolls_back(
    gateway: Gateway, releases: Releases
) -> None:
    site = releases.site
    assert visit(gateway, site)["code"] == "first"
    releases.make("second")
    with Visitors(gateway, site) as visitors:
        for name in ("second", "first", "second"):
            releases.flip(name)
            assert reload(gateway, site).status_code == 200
            page = visit(gateway, site)
            assert (page["code"], page["read template"]) == (name, name)
    assert visitors.lost == []
    assert visitors.answers


def test_without_a_reload_the_link_may_point_anywhere(gateway: Gateway, releases: Releases) -> None:
    assert visit(gateway, releases.site)["code"] == "first"
    releases.make("second")
    releases.flip("second")
    page = front(gateway, releases.site).json()
    assert (page["code"], page["read template"]) == ("first", "first")


@pytest.mark.parametrize("deleted", [False, True], ids=["kept", "deleted"])
def test_a_request_in_flight_ends_on_the_release_that_took_it(
    gateway: Gateway, releases: Releases, deleted: bool
) -> None:
    site = releases.site
    assert visit(gateway, site)["read template"] == "first"  # so that template has been read
    answers: list[dict[str, str]] = []

    def wait_at_the_gate() -> None:
        with client_for(site.host, gateway.port) as client:
            answers.append(client.get("/?gate").json())

    thread = threading.Thread(target=wait_at_the_gate)
    thread.start()
    releases.make("second")
    with Visitors(gateway, site) as visitors, releases.closed_gate():
        releases.flip("second")
        assert reload(gateway, site).status_code == 200
        if deleted:
            shutil.rmtree(site.folder.parent / "releases/first")
        assert visit(gateway, site)["code"] == "second"
    thread.join()
    assert visitors.lost == []
    (page,) = answers
    assert page["code"] == "first"
    assert "second" not in page.values()
    if not deleted:
        assert set(page.values()) == {"first"}
    else:
        assert page["read template"] == "first"
        assert page["other template"] == "TemplateDoesNotExist"
        assert page["late module"] == "ModuleNotFoundError"


def test_deploys_of_the_same_size_within_a_second_never_serve_old_code(
    gateway: Gateway, releases: Releases
) -> None:
    site = releases.site
    views = site.folder / "core/views.py"
    text = views.read_text()
    moment = views.stat().st_mtime_ns
    for number in range(20):
        views.write_text(text.replace('RELEASE = "first"', f'RELEASE = "no {number:02}"'))
        os.utime(views, ns=(moment, moment))  # as when two changes fall in one second
        assert reload(gateway, site).status_code == 200
        assert visit(gateway, site)["code"] == f"no {number:02}"
