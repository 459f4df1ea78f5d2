"""Find out what a Python environment has installed, and what of it may be loaded only once.

Importing the same shared object twice in one process breaks numpy, PyO3 modules, PyYAML's C
loader, cryptography and others. So a distribution with extension modules is not private to a
site: it forms a *unit*, which is loaded once and kept across reloads. A unit consists of

* the distribution itself;
* its family: the distributions that require it in exactly one version. The members of a family
  depend on each other in ways that their metadata do not tell (pydantic-core imports
  pydantic);
* distributions that require each other in a circle with these.

A unit depends on the units of the distributions that it requires. Its key is made of its content:
the ``RECORD`` hashes of its distributions and the keys of the units that it requires. So the same
content is the same unit in every virtual environment (uv links the same files into each). An
upgrade of a native package makes a unit of its own; an old core never meets a new wrapper.

A library in `libraries.PRIVATE` belongs to the site. It cannot be shared, native or not. Neither
can a distribution that requires it.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from gateway.disk.files import read_file, why_not
from gateway.namespace import libraries

_LARGEST_PYVENV = 1 << 16

_SUFFIXES = tuple(suffix.encode() for suffix in importlib.machinery.EXTENSION_SUFFIXES)
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


class EnvironmentError_(Exception):
    """A virtual environment cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Distribution:
    """One installed distribution, read from its ``.dist-info`` folder."""

    info: Path

    @cached_property
    def _headers(self) -> Mapping[str, list[str]]:
        try:
            with open(self.info / "METADATA", "rb") as file:
                message = BytesHeaderParser().parse(file)
        except OSError:
            return {}
        return {name: message.get_all(name, []) for name in ("Name", "Version", "Requires-Dist")}

    @cached_property
    def name(self) -> str:
        """The normalised name (PEP 503)."""
        stem = self.info.name.removesuffix(".dist-info").rpartition("-")[0]
        return canonicalize_name((self._headers.get("Name") or [stem])[0])

    @cached_property
    def version(self) -> str:
        """The version as written in the metadata, ``unknown`` if there is none."""
        return (self._headers.get("Version") or ["unknown"])[0]

    @cached_property
    def record(self) -> bytes:
        """The content of ``RECORD``: the name, hash and size of every installed file."""
        try:
            return (self.info / "RECORD").read_bytes()
        except OSError:
            return b""

    @cached_property
    def files(self) -> list[str]:
        """The paths in ``RECORD``, relative to the folder that holds the distribution."""
        lines = self.record.decode(errors="replace").splitlines()
        return [line.rsplit(",", 2)[0].strip('"') for line in lines if line]

    @cached_property
    def native(self) -> bool:
        """True if the distribution has extension modules."""
        return any(suffix + b"," in self.record for suffix in _SUFFIXES)

    @cached_property
    def inodes(self) -> frozenset[tuple[int, int]]:
        """Device and inode of each extension module. By these the C library recognises a file."""
        suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
        stats = [
            os.stat(path)
            for name in self.files
            if name.endswith(suffixes) and os.path.exists(path := self.info.parent / name)
        ]
        return frozenset((stat.st_dev, stat.st_ino) for stat in stats)

    @cached_property
    def requirements(self) -> tuple[Requirement, ...]:
        """All its requirements, those of extras included."""
        found = []
        for text in self._headers.get("Requires-Dist", ()):
            try:
                found.append(Requirement(text))
            except InvalidRequirement:
                continue
        return tuple(found)

    @cached_property
    def requires(self) -> frozenset[str]:
        """Normalised names of the distributions that it requires on this system, without extras."""
        return frozenset(
            canonicalize_name(requirement.name)
            for requirement in self.requirements
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        )

    @cached_property
    def pins(self) -> frozenset[str]:
        """Normalised names of what it, or one of its extras, requires in exactly one version."""
        return frozenset(
            canonicalize_name(requirement.name)
            for requirement in self.requirements
            if any(specifier.operator in ("==", "===") for specifier in requirement.specifier)
        )

    @cached_property
    def prefixes(self) -> frozenset[str]:
        """The names of its top-level modules; for namespace packages, of the modules in them."""
        files = [name for name in self.files if not name.startswith(("..", "/"))]
        packages = {name.rpartition("/")[0] for name in files if _is_init(name)}
        return frozenset(
            prefix for name in files if (prefix := _module_prefix(name, packages)) is not None
        )


def _is_init(path: str) -> bool:
    return path.rpartition("/")[2].split(".")[0] == "__init__"


def _module_prefix(path: str, packages: set[str]) -> str | None:
    parts = path.split("/")
    if "__pycache__" in parts or parts[0].endswith((".dist-info", ".data")):
        return None
    if not path.endswith((".py", ".pyc", *importlib.machinery.EXTENSION_SUFFIXES)):
        return None
    for depth in range(1, len(parts)):
        if "/".join(parts[:depth]) in packages:
            return ".".join(parts[:depth])
    return ".".join([*parts[:-1], parts[-1].partition(".")[0]])


@dataclass(frozen=True)
class UnitSpec:
    """The distributions of one unit of the environment layer. ``key`` is made of their content."""

    key: str
    distributions: tuple[Distribution, ...]
    environment: Environment = field(repr=False, compare=False)

    @cached_property
    def prefixes(self) -> frozenset[str]:
        """The top-level module names of its distributions, as in `Distribution.prefixes`."""
        return frozenset(prefix for item in self.distributions for prefix in item.prefixes)

    @cached_property
    def inodes(self) -> frozenset[tuple[int, int]]:
        """Device and inode of its extension modules, as they are when this is first read."""
        return frozenset(inode for item in self.distributions for inode in item.inodes)

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The versions of its distributions and of all distributions that they require, by name."""
        installed = self.environment.distributions
        edges = {name: item.requires & installed.keys() for name, item in installed.items()}
        members = {item.name for item in self.distributions}
        names = members.union(*(_reachable(name, edges) for name in members))
        return {name: installed[name].version for name in sorted(names)}

    @property
    def label(self) -> str:
        """Its distributions as text for people: ``pydantic 2.12.0 + pydantic-core 2.41.1``."""
        return " + ".join(f"{item.name} {item.version}" for item in self.distributions)


@dataclass(frozen=True)
class Environment:
    """A Python environment: where its packages are, and which of them have to be shared.

    ``prefix`` is the folder of the virtual environment, ``None`` for the gateway's own
    environment; ``roots`` are its ``site-packages`` folders.
    """

    prefix: str | None
    roots: tuple[str, ...]

    @classmethod
    def of_process(cls) -> Environment:
        """Return the environment that the gateway itself is installed in."""
        named = ("site-packages", "dist-packages")
        roots = [entry for entry in sys.path if os.path.basename(entry) in named]
        return cls(None, tuple(dict.fromkeys(roots)))

    @classmethod
    def of_venv(cls, prefix: str | Path) -> Environment:
        """Return the virtual environment at ``prefix``.

        Raises ``EnvironmentError_`` if there is none, or if it is for another Python.
        """
        prefix = Path(os.path.abspath(prefix))
        settings = _read_pyvenv(prefix)
        root = prefix / "lib" / f"python{_VERSION}" / "site-packages"
        if not root.is_dir():
            found = settings.get("version_info") or settings.get("version")
            if not found:
                folders = sorted(item.name for item in prefix.glob("lib/python*"))
                found = folders[0].removeprefix("python") if folders else "another version"
            raise EnvironmentError_(
                f"the virtual environment {prefix} is for Python {found}, the gateway runs "
                f"{_VERSION}: make it anew with python{_VERSION} -m venv, or run the gateway "
                f"with the Python of the site"
            )
        roots = [str(root)]
        if settings.get("include-system-site-packages", "").lower() == "true":
            base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
            roots += [sysconfig.get_path(kind, vars=base) for kind in ("purelib", "platlib")]
        return cls(str(prefix), tuple(dict.fromkeys(roots)))

    def contains(self, path: str) -> bool:
        """Tell whether the file at ``path`` lies in one of the ``site-packages`` folders."""
        return any(path.startswith(root + os.sep) for root in self.roots)

    @cached_property
    def distributions(self) -> Mapping[str, Distribution]:
        """The installed distributions by normalised name. Earlier folders win."""
        found: dict[str, Distribution] = {}
        for root in self.roots:
            for info in sorted(Path(root).glob("*.dist-info")):
                distribution = Distribution(info)
                found.setdefault(distribution.name, distribution)
        return found

    @cached_property
    def units(self) -> Mapping[str, UnitSpec]:
        """The units of this environment by the names of their top-level modules."""
        groups = _group(self.distributions, self.private_distributions)
        keys: dict[frozenset[str], str] = {}
        specs: dict[str, UnitSpec] = {}
        for group in groups:
            members = tuple(self.distributions[name] for name in sorted(group))
            spec = UnitSpec(_key(group, groups, self.distributions, keys), members, self)
            specs.update((prefix, spec) for item in members for prefix in item.prefixes)
        return specs

    @cached_property
    def private_distributions(self) -> frozenset[str]:
        """Names of the distributions that each site has for itself.

        `libraries.PRIVATE` and what requires one of these, directly or not.
        """
        needing = set(libraries.PRIVATE)
        while True:
            more = {
                name for name, item in self.distributions.items() if item.requires & needing
            } - needing
            if not more:
                return frozenset(needing)
            needing |= more

    @cached_property
    def private_modules(self) -> frozenset[str]:
        """The top-level module names of the distributions in ``private_distributions``."""
        return frozenset(
            prefix
            for name in self.private_distributions & self.distributions.keys()
            for prefix in self.distributions[name].prefixes
        )


def _read_pyvenv(prefix: Path) -> dict[str, str]:
    try:
        text = read_file(prefix / "pyvenv.cfg", _LARGEST_PYVENV).decode(errors="replace")
    except OSError as exc:
        raise EnvironmentError_(
            f"{prefix} is no virtual environment: its pyvenv.cfg {why_not(exc)}"
        ) from exc
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _group(
    distributions: Mapping[str, Distribution], excluded: frozenset[str]
) -> list[frozenset[str]]:
    """Group the distributions that have to be shared into units; each is in exactly one."""
    shareable = {name: item for name, item in distributions.items() if name not in excluded}
    native = {name for name, item in shareable.items() if item.native}
    edges = {name: set(item.requires & shareable.keys()) for name, item in shareable.items()}
    members = set(native)
    for name, item in shareable.items():
        for partner in item.pins & native:
            members.add(name)
            edges[name].add(partner)
            edges[partner].add(name)
    reach = {name: _reachable(name, edges) for name in shareable}
    members |= {other for name in members for other in reach[name]}
    return list(
        dict.fromkeys(
            frozenset({name} | {other for other in reach[name] if name in reach[other]})
            for name in sorted(members)
        )
    )


def _reachable(start: str, edges: Mapping[str, Iterable[str]]) -> set[str]:
    found: set[str] = set()
    pending = [start]
    while pending:
        for name in edges[pending.pop()]:
            if name not in found:
                found.add(name)
                pending.append(name)
    return found


def _key(
    group: frozenset[str],
    groups: Iterable[frozenset[str]],
    distributions: Mapping[str, Distribution],
    known: dict[frozenset[str], str],
) -> str:
    if group not in known:
        required = {name for member in group for name in distributions[member].requires}
        below = [other for other in groups if other != group and other & required]
        digest = blake2b(digest_size=16)
        for member in sorted(group):
            digest.update(f"{member}\0{distributions[member].version}\0".encode())
            digest.update(_content(distributions[member]))
        for key in sorted(_key(other, groups, distributions, known) for other in below):
            digest.update(key.encode())
        known[group] = digest.hexdigest()
    return known[group]


def _content(distribution: Distribution) -> bytes:
    """Return the lines of ``RECORD``, sorted, without those of files that the installer makes.

    These files differ from one environment to another.
    """
    lines = distribution.record.splitlines()
    kept = [
        line
        for line in lines
        if b".dist-info/" not in line and not line.startswith(b"..") and b".pyc," not in line
    ]
    return b"\n".join(sorted(kept))
