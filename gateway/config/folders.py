"""Checks of the folders and files that ``sites.json`` names."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import sysconfig
from pathlib import Path
from typing import Final

from gateway.disk.files import kind_of, mode_of, read_file, why_not_seen

_LARGEST_PYVENV: Final = 1 << 16


def why_not_a_folder(path: Path) -> str | None:
    """Say why ``path`` cannot be used as a folder; return ``None`` if it can."""
    return _why_not(path, "folder")


def why_not_a_project(path: Path) -> str | None:
    """Say why ``path`` cannot be the folder of a project; return ``None`` if it can."""
    problem = why_not_a_folder(path)
    if problem is not None:
        return problem
    try:
        os.stat(inside(path))
    except OSError as error:
        return (
            f"{path} cannot be entered as user {os.geteuid()} ({error.strerror}); give this user "
            "the right to read and to enter it"
        )
    return None


def inside(folder: Path) -> str:
    """Return a path at which there is something only for those who can enter ``folder``."""
    return f"{folder}/."


def why_not_a_file(path: Path) -> str | None:
    """Say why ``path`` cannot be used as a file; return ``None`` if it can."""
    return _why_not(path, "file")


def _why_not(path: Path, kind: str) -> str | None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return f"there is no {kind} {path}; create it, or correct the path"
    except OSError as error:
        return why_not_seen(path, error)
    except ValueError:
        return "a path cannot contain a NUL character"
    is_kind = stat.S_ISDIR if kind == "folder" else stat.S_ISREG
    if is_kind(mode):
        return None
    return f"{path} is not a {kind} but {kind_of(mode)}; put a {kind} there, or correct the path"


def why_not_a_venv(venv: Path) -> str | None:
    """Say why the running Python cannot use the folder ``venv`` (PEP 405), or return ``None``."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    parts = _, python, packages = parts_of_venv(venv)
    modes = []
    for part in parts:
        try:
            modes.append(mode_of(part) or 0)
        except OSError as error:
            return f"{why_not_seen(part, error)}; let it enter the folders of the environment"
    if not stat.S_ISREG(modes[0]):
        problem = f"{venv} is not a virtual environment, for it has no pyvenv.cfg"
    elif not modes[1]:
        problem = f"{python} is missing, or points to a Python that is gone"
    elif not stat.S_ISDIR(modes[2]):
        problem = (
            f"{venv} was made for Python {_version_of(venv)}, and the gateway runs {running} "
            f"(there is no {packages})"
        )
    else:
        return None
    return f"{problem}; make it again: python{running} -m venv --clear {shlex.quote(str(venv))}"


def parts_of_venv(venv: Path) -> tuple[Path, Path, Path]:
    """Return the three parts of a virtual environment: ``pyvenv.cfg``, its Python, its packages."""
    packages = sysconfig.get_path("purelib", "venv", {"base": str(venv)})
    return venv / "pyvenv.cfg", venv / "bin" / "python", Path(packages)


def _version_of(venv: Path) -> str:
    """Return the version of Python for which a virtual environment was made, such as ``3.12``."""
    try:
        config = read_file(venv / "pyvenv.cfg", _LARGEST_PYVENV).decode(errors="replace")
    except OSError:
        return "unknown"
    for line in config.splitlines():
        key, _, value = line.partition("=")
        # venv writes the first, virtualenv and uv the second.
        if key.strip().lower() in ("version", "version_info"):
            return ".".join(value.strip().split(".")[:2])
    return "unknown"
