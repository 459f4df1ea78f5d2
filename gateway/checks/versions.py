"""Findings on sites beside each other: packages with C code in several versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.checks.facts import Unit
from gateway.checks.findings import Finding, Level, listed

_ONCE_PER_PROCESS: Final = frozenset({"numpy"})
"""Packages that refuse to be loaded a second time, in whatever version (numpy: ``cannot load
module more than once per process``)."""

Copies = Mapping[tuple[str, str], Mapping[str, bool]]
"""By version and key of the unit: the sites that can use it, and whether they do when loaded."""


def findings(units: Mapping[str, tuple[Unit, ...]]) -> Iterator[Finding]:
    """What does not go together; ``units`` are those that each site can use, by its name."""
    packages: dict[str, dict[tuple[str, str], dict[str, bool]]] = defaultdict(dict)
    for site, usable in units.items():
        for unit in usable:
            for name, version in unit.packages.items():
                packages[name].setdefault((version, unit.key), {})[site] = unit.loaded
    several = {name: copies for name, copies in sorted(packages.items()) if len(copies) > 1}
    for name in several.keys() & _ONCE_PER_PROCESS:
        yield _conflict(name, several[name])
    beside = [
        f"{name} ({_versions(copies)})"
        for name, copies in several.items()
        if name not in _ONCE_PER_PROCESS and _loaded(copies) > 1
    ]
    if beside:
        yield Finding(
            Level.NOTE,
            "native-versions",
            f"packages with C code are loaded in several versions, side by side: {listed(beside)}",
            "nothing to do if it works; the same version for all sites takes less memory",
        )


def _conflict(name: str, copies: Copies) -> Finding:
    return Finding(
        Level.FAULT if _loaded(copies) > 1 else Level.WARNING,
        "native-versions",
        f"{name} can be loaded only once into a process, and sites have different ones: "
        f"{_versions(copies)}. Whoever comes second fails",
        "install the same version for all of them, or serve some of them by a gateway of their own",
    )


def _loaded(copies: Copies) -> int:
    return sum(any(sites.values()) for sites in copies.values())


def _versions(copies: Copies) -> str:
    found = sorted(copies.items())
    return "; ".join(f"{version} in {', '.join(sites)}" for (version, _), sites in found)
