"""How much memory a process has."""

from __future__ import annotations

import os
from pathlib import Path


def resident(pid: int | str = "self") -> int:
    """Bytes of memory that a process has (RSS); 0 where the system does not tell (proc(5))."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
