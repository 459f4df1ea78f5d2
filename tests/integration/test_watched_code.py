"""``"watch": true``: a site follows what a developer writes, and nothing that it writes itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from .actions import append
from .servers import PROTOCOL, Gateway
from .sites import BuiltSite, tiny_site
from .visitors import Visitors, visit, wait_for_workers
from .waiting import until

SETTINGS = """
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
# As careless as projects are: everything in one folder.
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "DIRS": [BASE_DIR],
}]
MEDIA_ROOT = BASE_DIR / "media"
LOGGING["handlers"]["file"] = {"class": "logging.FileHandler", "filename": BASE_DIR / "debug.txt"}
LOGGING["loggers"]["core"] = {"handlers": ["file"], "level": "INFO"}
"""
VIEWS = """
import logging
from django.template.loader import render_to_string
from core.words import WORD


def front(request):
    logging.getLogger("core").info("a visitor")
    page = render_to_string("front.html")
    return JsonResponse({"pid": os.getpid(), "page": page, "word": WORD})
"""


@pytest.fixture
def site(tmp_path: Path) -> BuiltSite:
    site = tiny_site(tmp_path, "draft")
    append(site, "core/settings.py", SETTINGS)
    append(site, "core/views.py", VIEWS)
    (site.folder / "core/words.py").write_text("WORD = 1\n")
    (site.folder / "core/unused.py").write_text("")
    (site.folder / "front.html").write_text("first")
    (site.folder / "media").mkdir()
    (tmp_path / "env").write_text("WHO=me\n")
    entry = {**site.entry, "watch": True, "env_file": str(tmp_path / "env")}
    return BuiltSite(site.name, entry)


@pytest.fixture
def gateway(site: BuiltSite, tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path, {site.name: site.entry}, options=PROTOCOL) as running:
        assert visit(running, site)["page"] == "first"
        yield running


def generation(gateway: Gateway) -> int:
    return int(gateway.health()["sites"]["draft"]["generation"])


def test_modules_templates_and_variables_are_followed_without_a_lost_request(
    gateway: Gateway, site: BuiltSite, tmp_path: Path
) -> None:
    with Visitors(gateway, site) as visitors:
        (site.folder / "core/words.py").write_text("WORD = 'two'\n")
        until(lambda: visit(gateway, site)["word"] == "two", "the module is followed")
        (site.folder / "front.html").write_text("second")
        until(lambda: visit(gateway, site)["page"] == "second", "the template is followed")
        before = generation(gateway)
        (tmp_path / "env").write_text("WHO=you\n")
        until(lambda: generation(gateway) > before, "the variables are followed")
    assert visitors.lost == []
    events = gateway.operator().get("/_history", params={"site": "draft"}).json()["entries"]
    assert {event["asker"] for event in events if event["event"] == "reload"} == {"watch", "file"}
    assert "reloading for changes in" in gateway.output
    assert str(site.folder / "core/words.py") in gateway.output


def test_what_the_site_writes_itself_is_not_followed(gateway: Gateway, site: BuiltSite) -> None:
    folder = site.folder
    sqlite3.connect(folder / "db.sqlite3").execute("CREATE TABLE t (c)").connection.close()
    (folder / "media/page.html").write_text("an upload")
    (folder / "error.log").write_text("oh")
    (folder / "core/unused.py").write_text("never_imported = True\n")
    visit(gateway, site)  # writes to its log
    assert "a visitor" in (folder / "debug.txt").read_text()
    (folder / "core/words.py").write_text("WORD = 2\n")
    until(lambda: visit(gateway, site)["word"] == 2, "what counts is followed")
    assert generation(gateway) == 2
    assert gateway.output.count("reloading for changes in") == 1
    assert f"changes in {folder / 'core/words.py'}\n" in gateway.output


def test_mistakes_are_followed_until_they_are_put_right(gateway: Gateway, site: BuiltSite) -> None:
    words = site.folder / "core/words.py"
    with Visitors(gateway, site) as visitors:
        words.write_text("WORD = (\n")
        until(lambda: gateway.health()["status"] == "degraded", "the syntax error is seen")
        words.write_text("from core.more import WORD\n")

        def misses_a_module() -> bool:
            error = gateway.health()["sites"]["draft"]["error"]
            return error is not None and "core.more" in error

        until(misses_a_module, "the missing module is seen")
        (site.folder / "core/more.py").write_text("WORD = 'more'\n")
        until(lambda: visit(gateway, site)["word"] == "more", "the new module is seen")
        (site.folder / "front.html").write_text("{% nonsense %}")
        until(lambda: gateway.health()["status"] == "degraded", "the probe fails")
        (site.folder / "front.html").write_text("right")
        until(lambda: visit(gateway, site)["page"] == "right", "the template is put right")
    assert visitors.lost == []
    assert gateway.health()["status"] == "ok"


def test_every_worker_follows(site: BuiltSite, tmp_path: Path) -> None:
    options = ("--workers", "2", *PROTOCOL)
    with Gateway(tmp_path, {site.name: site.entry}, options=options) as gateway:
        wait_for_workers(gateway, site, 2)
        (site.folder / "core/words.py").write_text("WORD = 'both'\n")
        seen: set[int] = set()

        def both_have() -> bool:
            page = visit(gateway, site)
            if page["word"] == "both":
                seen.add(page["pid"])
            return len(seen) == 2

        until(both_have, "both workers have followed")
        assert visit(gateway, site)["word"] == "both"


def test_without_it_nothing_is_followed(site: BuiltSite, tmp_path: Path) -> None:
    still = tiny_site(tmp_path, "still")
    entries = {site.name: site.entry, still.name: still.entry}
    with Gateway(tmp_path, entries, options=PROTOCOL) as gateway:
        for each in (still, site):
            visit(gateway, each)
        append(still, "core/views.py", "\nRELEASE = 'second'\n")
        (site.folder / "core/words.py").write_text("WORD = 2\n")
        until(lambda: visit(gateway, site)["word"] == 2, "the other is followed")
        assert visit(gateway, still)["release"] == "first"
