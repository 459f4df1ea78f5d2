"""Remember for all namespaces where installed source modules are.

Looking for a module costs a listing of its folder for each import system, and several system calls
for each module. This is about a tenth of the time to load a further site. An answer is valid as
long as the folder has not changed; ``FileFinder`` uses the same rule. For folders of a project
nothing is remembered: a package may be removed while its folder stays, because of a
``__pycache__`` in it.
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
"""Nanoseconds after a change of a folder in which a further change may not alter its time."""


@dataclass(frozen=True, slots=True)
class _Location:
    """The place of a module's source file. A ``path`` of ``None`` means that there is no module."""

    path: str | None
    cached: str | None = None
    package: str | None = None


_known: dict[str, tuple[int, dict[str, _Location]]] = {}
"""By folder: the time of its last change, and the locations found in it by module name."""


def forget(roots: Iterable[str]) -> None:
    """Forget the locations found in some folders and below them."""
    places = tuple(root + os.sep for root in roots)
    for folder in list(_known):
        if (folder + os.sep).startswith(places):
            _known.pop(folder, None)


def remembering(
    external: Any, bootstrap: Any, is_installed: Callable[[str], bool]
) -> Callable[..., Any]:
    """Make a ``find_spec`` for the ``FileFinder`` of one import system that remembers its answers.

    ``bootstrap`` and ``external`` are the two parts of that import system. The answers of all
    import systems are remembered together.
    """
    find_spec = external.FileFinder.find_spec
    loader_class = external.SourceFileLoader
    spec_class = bootstrap.ModuleSpec
    loaders = external.FileFinder(os.sep, *external._get_supported_file_loaders())._loaders

    @internal
    @functools.wraps(find_spec)
    def remembering_find_spec(finder: Any, fullname: str, target: Any = None) -> Any:
        folder = finder.path
        # A finder with other loaders belongs to a project, and sees other files in the folder.
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
    """Return the part of an answer to remember; ``None`` if it is not to be remembered."""
    if spec is None:
        return _Location(None)
    if type(spec.loader) is not loader_class:
        return None
    places = spec.submodule_search_locations
    return _Location(spec.origin, spec.cached, places[0] if places else None)
