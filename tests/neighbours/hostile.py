"""Builders of sites that do what no site should."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any, Final

from ..integration.sites import BuiltSite, tiny_site

_APPLICATION: Final = '''

def front(environ):
    return "a page"


def application(environ, start_response):
    """Answer what the function of that name returns: a text, or anything to iterate over."""
    view = globals()[environ["PATH_INFO"].strip("/") or "front"]
    answer = view(environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()] if isinstance(answer, str) else answer
'''
_MEETING: Final = """
import threading

barriers = {}
lock = threading.Lock()

def meet(environ):
    query = environ["QUERY_STRING"]
    parties = int(query.partition("=")[2])
    with lock:
        barrier = barriers.setdefault(query, threading.Barrier(parties))
    barrier.wait(3)
    return "met"
"""
_SQLITE: Final = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": %r}}
"""


def plain_site(folder: Path, name: str, code: str = "", **limits: float) -> BuiltSite:
    """A site without Django: each function in ``code`` is a page that takes the WSGI environ.

    ``limits`` are those of ``sites.json``.
    """
    path = folder / name
    path.mkdir()
    write(BuiltSite(name, {"path": str(path)}), code)
    entry: dict[str, Any] = {
        "hosts": [f"{name}.localhost"],
        "path": str(path),
        "wsgi": "app",
        "limits": limits,
    }
    return BuiltSite(name, entry)


def write(site: BuiltSite, code: str) -> None:
    """Put other code in the place of a plain site's."""
    (site.folder / "app.py").write_text(dedent(code) + _APPLICATION)


def django_site(
    folder: Path,
    name: str,
    views: str,
    settings: str = "",
    urls: tuple[str, ...] = (),
    **limits: float,
) -> BuiltSite:
    """A Django project of one page with more ``views`` at addresses like their names."""
    site = tiny_site(folder, name)
    append(site, "core/views.py", views)
    append(site, "core/settings.py", settings)
    for view in urls:
        append(site, "core/urls.py", f'urlpatterns.append(path("{view}", views.{view}))')
    return BuiltSite(name, {**site.entry, "limits": limits})


def database_site(
    folder: Path, name: str, views: str, urls: tuple[str, ...] = (), **limits: float
) -> BuiltSite:
    """The same, with a SQLite database that has no tables."""
    settings = _SQLITE % str(folder / f"{name}.sqlite3")
    return django_site(folder, name, views, settings, urls, **limits)


def append(site: BuiltSite, file: str, code: str) -> None:
    """Put code at the end of one of the project's files."""
    path = site.folder / file
    path.write_text(f"{path.read_text()}\n{dedent(code)}\n")


def meeting_site(folder: Path, **limits: float) -> BuiltSite:
    """A site at whose page ``/meet?WORD=N`` requests wait until there are N of them.

    `steady.meet` has them come; they run at the same time, or 500 is the answer.
    """
    return plain_site(folder, "meeting", _MEETING, **limits)
