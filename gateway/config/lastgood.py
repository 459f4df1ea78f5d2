"""The last ``sites.json`` without faults, kept for a start that finds a broken one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def last_good_path(state_dir: Path) -> Path:
    """Return where the copy is kept, whether there is one or not."""
    return state_dir / "last-good-sites.json"


def save_last_good(state_dir: Path, text: bytes) -> Path:
    """Keep ``text`` (``Config.text``) as the last good copy, for its owner only.

    It may hold secrets. It is there whole or not at all, whatever happens meanwhile. The state
    folder is made if needed. Raises ``OSError``, for example on a full disk; the copy from before
    then stays.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = last_good_path(state_dir)
    # mkstemp creates with mode 0600.
    descriptor, name = tempfile.mkstemp(dir=state_dir, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
    return target
