"""Many sites of the samples' shape, for benchmarks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = "shop"
ENVIRON = {"DJANGO_SETTINGS_MODULE": "core.settings", "SECRET_KEY": "x" * 60}


def prepare(folder: Path, sites: int) -> list[Path]:
    """Write ``sites`` copies of a sample, migrated, and a ``sites.json`` that lists them."""
    first = folder / "site0"
    ignore = shutil.ignore_patterns("db.sqlite3*", "__pycache__")
    shutil.copytree(ROOT / "projects" / SAMPLE, first, ignore=ignore)
    command = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    subprocess.run(command, cwd=first, env={**os.environ, **ENVIRON}, check=True)
    copies = [first, *(folder / f"site{number}" for number in range(1, sites))]
    for copy in copies[1:]:
        shutil.copytree(first, copy)
    entries = {
        copy.name: {
            "hosts": [f"{copy.name}.localhost"],
            "path": copy.name,
            "wsgi": "core.wsgi",
            "env": ENVIRON,
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
