"""Findings on several sites together: packages with C code in several versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations

from gateway.checks.facts import Unit
from gateway.checks.findings import Finding, Level, listed

Users = dict[str, bool]
"""The names of the sites that can use a unit, each with whether loading it uses the unit."""


def findings(units: Mapping[str, tuple[Unit, ...]]) -> Iterator[Finding]:
    """Yield what does not go together; ``units`` are those that each site can use, by site name."""
    by_key: dict[str, Unit] = {}
    users: dict[str, Users] = defaultdict(dict)
    for site, usable in units.items():
        for unit in usable:
            by_key.setdefault(unit.key, unit)
            users[unit.key][site] = unit.loaded
    for one, other in combinations(by_key.values(), 2):
        if not set(one.files).isdisjoint(other.files):
            yield _conflict(one, users[one.key], other, users[other.key])
    beside = [
        f"{name} ({'; '.join(copies)})"
        for name, copies in sorted(_loaded_copies(by_key, users).items())
        if len(copies) > 1
    ]
    if beside:
        yield Finding(
            Level.NOTE,
            "native-versions",
            f"packages with C code are loaded in several versions, side by side: {listed(beside)}",
            "nothing to do if it works; the same version for all sites takes less memory",
        )


def _conflict(one: Unit, of_one: Users, other: Unit, of_other: Users) -> Finding:
    """Make the finding for two units with files in common. Namespaces load only one of them."""
    different = [
        f"{name} {version} and {other.versions[name]}"
        for name, version in one.versions.items()
        if other.versions.get(name, version) != version
    ]
    return Finding(
        Level.FAULT if any(of_one.values()) and any(of_other.values()) else Level.WARNING,
        "native-versions",
        f"{one.label} is the same file for {listed(of_one)} and for {listed(of_other)}, but is to "
        f"be loaded with {listed(different) or 'other content'}. A file can be loaded only once: "
        f"whoever comes second fails",
        "install the same versions for all of them, or files of its own for each (uv: "
        "--link-mode copy)",
    )


def _loaded_copies(
    units: Mapping[str, Unit], users: Mapping[str, Users]
) -> Mapping[str, list[str]]:
    """Return, by package, the versions in loaded units, each with the sites that can use it."""
    copies: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, unit in units.items():
        if any(users[key].values()):
            for name, version in unit.packages.items():
                copies[name].append((version, f"{version} in {', '.join(users[key])}"))
    return {name: [text for _, text in sorted(found)] for name, found in copies.items()}
