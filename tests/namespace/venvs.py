"""Virtual environments for tests: small ones made by hand, and real ones."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.integration.cache import virtual_environment

from .worlds import Files, write

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
SO = importlib.machinery.EXTENSION_SUFFIXES[0]


def make_venv(folder: Path, installed: Files, *, version: str = VERSION) -> Path:
    """A virtual environment without pip; ``installed`` are files in its ``site-packages``."""
    base = Path(sys.base_prefix) / "bin"
    full = f"{version}.{sys.version_info.micro}"
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(
        f"home = {base}\ninclude-system-site-packages = false\nversion = {full}\n"
    )
    (folder / "bin" / "python").symlink_to(base / f"python{VERSION}")
    site_packages(folder, version).mkdir(parents=True)
    write(site_packages(folder, version), installed)
    return folder


def site_packages(venv: Path, version: str = VERSION) -> Path:
    """The folder that its distributions are in."""
    return venv / "lib" / f"python{version}" / "site-packages"


def dist(
    name: str, version: str = "1", *, files: tuple[str, ...], requires: tuple[str, ...] = ()
) -> dict[str, str]:
    """A distribution as ``pip`` leaves it; ``files`` are empty."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    lines = [f"Requires-Dist: {text}" for text in requires]
    names = [*files, f"{info}/METADATA"]
    return {
        f"{info}/METADATA": "\n".join([f"Name: {name}", f"Version: {version}", *lines, ""]),
        f"{info}/RECORD": "".join(f"{path},sha256={name}{version},0\n" for path in names)
        + f"{info}/RECORD,,\n",
        **{path: "" for path in files if path.endswith(".py")},
    }


def installed_or_skip(requirements: Iterable[str]) -> Path:
    """A real virtual environment, which others use as well."""
    try:
        return virtual_environment(requirements)
    except Exception as exc:
        if os.environ.get("GATEWAY_REQUIRE_SERVICES") == "1":
            raise
        pytest.skip(f"packages cannot be installed here: {exc!r:.200}")
