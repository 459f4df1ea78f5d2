"""The working directory, which belongs to the process: a thread may have one of its own."""

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

    Linux: ``unshare(CLONE_FS)``, which separates the umask too. False where the system does not let
    it (the default seccomp profiles of Docker and Kubernetes need ``CAP_SYS_ADMIN``); then nothing
    has changed. Must not be called on the main thread: its directory is the process's.
    """
    try:
        return sys.platform == "darwin" or bool(_libc().unshare(_CLONE_FS) == 0)
    except AttributeError:
        return False


def change_folder(folder: int) -> None:
    """Change the working directory of a thread that has its `own_folder`; takes a descriptor.

    It takes a microsecond, in which ``os.fchdir`` lets go of the GIL: to have it back costs 5 ms
    whenever another thread computes. Raises `OSError`.
    """
    if getattr(_libc(), _FCHDIR)(folder):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def private_cwd(path: str | os.PathLike[str]) -> bool:
    """Let the calling thread alone work in ``path``; false, and no change, if it cannot."""
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
    return ctypes.PyDLL(None, use_errno=True)  # which keeps the GIL
