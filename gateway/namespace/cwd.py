"""The working directory, which belongs to the process: a thread may have one of its own."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys

_CLONE_FS = 0x200


def private_cwd(path: str | os.PathLike[str]) -> bool:
    """Give the calling thread a working directory of its own, ``path``.

    Linux: ``unshare(CLONE_FS)``, which separates the umask too; macOS: ``pthread_chdir_np``.
    Returns False where the system does not let it (the default seccomp profiles of Docker and
    Kubernetes need ``CAP_SYS_ADMIN``); then nothing has changed. Must not be called on the main
    thread: its directory is the process's.
    """
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "darwin":
            return _libc().pthread_chdir_np(os.fsencode(path)) == 0
        if _libc().unshare(_CLONE_FS) == 0:
            os.chdir(path)
            return True
    return False


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
