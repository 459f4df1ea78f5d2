"""Give a thread a working directory of its own. Usually all threads share that of the process."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from typing import Final

_CLONE_FS = 0x200
_FCHDIR: Final = "pthread_fchdir_np" if sys.platform == "darwin" else "fchdir"


def own_folder() -> bool:
    """Give the calling thread a working directory of its own, for `change_folder`.

    On Linux this is ``unshare(CLONE_FS)``, which separates the umask, too. Returns false, and
    changes nothing, where the system refuses it (the default seccomp profiles of Docker and
    Kubernetes require ``CAP_SYS_ADMIN``). Do not call it on the main thread: the directory of that
    thread is the directory of the process.
    """
    try:
        return sys.platform == "darwin" or bool(_libc().unshare(_CLONE_FS) == 0)
    except AttributeError:
        return False


def change_folder(folder: int) -> None:
    """Change the working directory of the calling thread, which must have its `own_folder`.

    ``folder`` is a descriptor. The call takes a microsecond and keeps the GIL. ``os.fchdir`` would
    release it, and getting it back costs 5 ms whenever another thread computes. Raises `OSError`.
    """
    if getattr(_libc(), _FCHDIR)(folder):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def private_cwd(path: str | os.PathLike[str]) -> bool:
    """Make ``path`` the working directory of the calling thread alone.

    Returns false, and changes nothing, where a thread cannot have a directory of its own.
    """
    if not own_folder():
        return False
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        change_folder(folder)
    finally:
        os.close(folder)
    return True


@functools.cache
def _libc() -> ctypes.PyDLL:
    return ctypes.PyDLL(None, use_errno=True)  # a PyDLL keeps the GIL during calls
