"""What takes long to make is made once: virtual environments, and projects with their database.

It lies in ``.cache/`` of the repository or in ``$GATEWAY_TEST_CACHE``, and can be deleted at any
time. A key says what it was made of; whatever changes that leads to a new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .programs import run
from .servers import REPOSITORY


def cached(name: str, ingredients: Iterable[str], make: Callable[[Path], None]) -> Path:
    """The folder that ``make`` has filled, now or in an earlier run.

    ``ingredients`` are whatever the result depends on beside the interpreter. The folder is moved
    into place once it is complete, so what is made must not hold its own path.
    """
    folder = cache_folder()
    key = f"{name}-{_fingerprint(ingredients)}"
    with _locked(folder / f"{key}.lock"):
        if not (folder / key).exists():
            draft = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=folder))
            try:
                make(draft)
                draft.rename(folder / key)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return folder / key


def virtual_environment(requirements: Iterable[str]) -> Path:
    """A virtual environment with these requirements. It is shared: nothing may be written to it."""
    wanted = sorted(requirements)

    def make(draft: Path) -> None:
        run([sys.executable, "-m", "venv", draft], folder=draft)
        # Not bin/pip: like all scripts in there it names the folder that the draft has now.
        pip: list[str | Path] = [
            draft / "bin" / "python",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
        ]
        run([*pip, "install", "--quiet", *wanted], folder=draft)

    return cached("venv", wanted, make)


def cache_folder() -> Path:
    """Where all of it lies."""
    folder = Path(os.environ.get("GATEWAY_TEST_CACHE") or REPOSITORY / ".cache").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    return folder


def _fingerprint(ingredients: Iterable[str]) -> str:
    interpreter = (platform.python_implementation(), platform.python_version(), sys.base_prefix)
    text = "\0".join([*interpreter, *ingredients])
    return f"py{platform.python_version()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other runs of the tests out. The lock ends with us, however that comes about."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
