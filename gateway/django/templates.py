"""The templates of a site, as files."""

from __future__ import annotations

import contextlib
import os
from typing import Final

from gateway.django import facts
from gateway.namespace import Namespace
from gateway.sites.sources import Tree

_SUFFIXES: Final = frozenset(
    {
        ".css", ".csv", ".djhtml", ".dtl", ".eml", ".htm", ".html", ".ics", ".j2", ".jinja",
        ".jinja2", ".js", ".json", ".md", ".mjml", ".rst", ".svg", ".tex", ".tmpl", ".tpl", ".txt",
        ".xhtml", ".xml",
    }
)  # fmt: skip
"""The suffixes of templates. Databases, logs and uploads may lie in the same folder."""


def folders(namespace: Namespace) -> list[Tree]:
    """The folders that the site takes templates from, without those of installed packages.

    Files that the site itself writes there are left out: uploads, collected files, logs. The list
    is empty for a site without Django.
    """
    settings = facts.settings(namespace)
    if settings is None:
        return []
    found: set[str] = set()
    with contextlib.suppress(Exception):  # of an engine that lacks something: shows when it is used
        for backend in namespace.import_module("django.template").engines.all():
            found.update(os.path.abspath(folder) for folder in backend.template_dirs)
            for loader in getattr(getattr(backend, "engine", None), "template_loaders", ()):
                if hasattr(loader, "get_dirs"):
                    found.update(os.path.abspath(folder) for folder in loader.get_dirs())
    written = {
        os.path.abspath(root) for root in (settings.MEDIA_ROOT, settings.STATIC_ROOT) if root
    }
    for reference in namespace.import_module("logging")._handlerList:
        if path := getattr(reference(), "baseFilename", None):
            written.add(path)
    return [
        Tree(folder, _SUFFIXES, frozenset(written))
        for folder in sorted(found)
        if not namespace.is_installed(folder)
    ]
