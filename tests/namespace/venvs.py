"""Virtual environments for tests: small ones made by hand, and real ones."""

from __future__ import annotations

import sys
from pathlib import Path

from .worlds import Files, write

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


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
