"""Where installed source modules lie, found once for all namespaces.

Looking for a module costs a listing of its folder for each import system and several questions
to the file system for each module: about a tenth of what loading a further site takes. An answer
is good for as long as the folder has not changed, which is what ``FileFinder`` goes by as well.
Folders of a project are asked each time: a package may go while its folder stays for a
``__pycache__``.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from gateway.namespace.tracebacks import internal

_RACY = 2_000_000_000
"""Nanoseconds after a change in which the time of a folder does not tell the next change."""


@dataclass(frozen=True, slots=True)
class _Location:
    """A source file; ``None`` for ``path`` says that there is nothing to be found."""

    path: str | None
    cached: str | None = None
    package: str | None = None


_known: dict[str, tuple[int, dict[str, _Location]]] = {}
"""By folder: when it had changed last, and what was found in it."""


def forget(roots: Iterable[str]) -> None:
    """Drop what was found in some folders and below them."""
    places = tuple(root + os.sep for root in roots)
    for folder in list(_known):
        if (folder + os.sep).startswith(places):
            _known.pop(folder, None)


def remembering(
    external: Any, bootstrap: Any, is_installed: Callable[[str], bool]
) -> Callable[..., Any]:
    """A ``find_spec`` for the ``FileFinder`` of ``external`` that asks what others have found."""
    find_spec = external.FileFinder.find_spec
    loader_class = external.SourceFileLoader
    spec_class = bootstrap.ModuleSpec
    loaders = external.FileFinder(os.sep, *external._get_supported_file_loaders())._loaders

    @internal
    @functools.wraps(find_spec)
    def remembering_find_spec(finder: Any, fullname: str, target: Any = None) -> Any:
        folder = finder.path
        # A finder with other loaders is a project's own: it sees other files in the same folder.
        if not is_installed(folder + os.sep) or finder._loaders != loaders:
            return find_spec(finder, fullname, target)
        try:
            changed = os.stat(folder).st_mtime_ns
        except OSError:
            return find_spec(finder, fullname, target)
        then, locations = _known.get(folder, (changed, {}))
        if then != changed:
            locations = {}
        name = fullname.rpartition(".")[2]
        known = locations.get(name)
        if known is None:
            spec = find_spec(finder, fullname, target)
            location = _location(spec, loader_class)
            if location is not None and time.time_ns() - changed > _RACY:
                locations[name] = location
                _known[folder] = changed, locations
            return spec
        if known.path is None:
            return None
        spec = spec_class(fullname, loader_class(fullname, known.path), origin=known.path)
        spec._set_fileattr = True
        spec._cached = known.cached
        if known.package is not None:
            spec.submodule_search_locations = [known.package]
        return spec

    return remembering_find_spec


def _location(spec: Any, loader_class: type) -> _Location | None:
    """What is worth remembering of an answer."""
    if spec is None:
        return _Location(None)
    if type(spec.loader) is not loader_class:
        return None
    places = spec.submodule_search_locations
    return _Location(spec.origin, spec.cached, places[0] if places else None)
