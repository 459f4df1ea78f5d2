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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.namespace.tracebacks import internal

_RACY = 2_000_000_000
"""Nanoseconds after a change in which the time of a folder does not tell the next change."""


@dataclass(frozen=True, slots=True)
class _Location:
    """A source file; ``None`` for ``path`` says that there is nothing to be found."""

    changed: int
    path: str | None
    cached: str | None = None
    package: str | None = None


_known: dict[tuple[str, str], _Location] = {}


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
        key = (folder, fullname.rpartition(".")[2])
        try:
            changed = os.stat(folder).st_mtime_ns
        except OSError:
            return find_spec(finder, fullname, target)
        known = _known.get(key)
        if known is None or known.changed != changed:
            spec = find_spec(finder, fullname, target)
            if time.time_ns() - changed > _RACY:
                _remember(key, changed, spec, loader_class)
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


def _remember(key: tuple[str, str], changed: int, spec: Any, loader_class: type) -> None:
    if spec is None:
        _known[key] = _Location(changed, None)
    elif type(spec.loader) is loader_class:
        places = spec.submodule_search_locations
        _known[key] = _Location(changed, spec.origin, spec.cached, places[0] if places else None)
