"""Many sites of the samples' shape, for benchmarks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = "shop"
ENVIRON = {"DJANGO_SETTINGS_MODULE": "core.settings", "SECRET_KEY": "x" * 60}


def prepare(
    folder: Path,
    sites: int,
    project: Path = ROOT / "projects" / SAMPLE,
    *,
    environ: Mapping[str, str] = ENVIRON,
    python: str | Path = sys.executable,
    preload: bool = False,
) -> list[Path]:
    """Write ``sites`` copies of a project, migrated, and a ``sites.json`` that lists them.

    ``python`` is the interpreter whose Django migrates it; ``preload`` has every worker of a
    gateway load them when it starts.
    """
    first = folder / "site0"
    ignore = shutil.ignore_patterns("db.sqlite3*", "__pycache__")
    shutil.copytree(project, first, ignore=ignore)
    command = [str(python), "manage.py", "migrate", "--verbosity=0"]
    subprocess.run(command, cwd=first, env={**os.environ, **environ}, check=True)
    copies = [first, *(folder / f"site{number}" for number in range(1, sites))]
    for copy in copies[1:]:
        shutil.copytree(first, copy)
    entries = {
        copy.name: {
            "hosts": [f"{copy.name}.localhost"],
            "path": copy.name,
            "wsgi": "core.wsgi",
            "env": dict(environ),
            "preload": preload,
        }
        for copy in copies
    }
    (folder / "sites.json").write_text(json.dumps({"sites": entries}))
    return copies


def megabytes(*pids: int) -> float:
    """The memory of processes together; what they share counts once (PSS, Linux)."""
    kilobytes = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        kilobytes += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1024
