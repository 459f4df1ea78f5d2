"""Hide the frames of our import systems from tracebacks and from code that walks the stack."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import dropwhile
from types import CodeType, TracebackType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_IMPORTLIB = "<frozen importlib._bootstrap"
_NAME = f"{_IMPORTLIB} of a gateway.namespace>"
_HERE = os.path.dirname(__file__) + os.sep
_IN_C = frozenset(
    {"__import__", "_calc___package__", "_gcd_import", "_resolve_name", "_sanity_check"}
)


def internal(function: F) -> F:
    """Make the frames of ``function`` look like frames of importlib.

    ``warnings`` skips frames of importlib when it looks for the code to blame. It recognises them
    by the name of their file.
    """
    code: Any = function
    code.__code__ = code.__code__.replace(co_filename=_NAME)
    return function


def is_internal(code: CodeType) -> bool:
    """Tell whether ``code`` belongs to an import system or to this package."""
    return code.co_filename.startswith((_IMPORTLIB, _HERE))


def drop_own_frames(exc: BaseException) -> None:
    """Remove our frames from the start of the traceback of ``exc``.

    These are the frame that handles ``exc`` and the frames of ours that it called. A bare ``raise``
    must follow.
    """
    entry = exc.__traceback__
    while entry is not None and _is_ours(entry):
        entry = entry.tb_next
    exc.__traceback__ = entry


def trim(exc: BaseException) -> TracebackType | None:
    """Return the traceback of ``exc`` without the frames of the import system.

    The rule is that of import.c (``remove_importlib_frames``). For an ``ImportError`` it removes
    every run of such frames, otherwise only the runs that end in ``_call_with_frames_removed``.
    Python runs the functions in ``_IN_C`` as C code, without a frame, so ours are removed from the
    start of every other run as well.
    """
    always = isinstance(exc, ImportError)
    kept: list[TracebackType] = []
    run: list[TracebackType] = []
    entry = exc.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code.co_filename.startswith(_IMPORTLIB):
            run.append(entry)
        else:
            kept += [] if always else _shown(run)
            run = []
            kept.append(entry)
        entry = entry.tb_next
    kept += [] if always else _shown(run)
    for position, entry in enumerate(kept):
        entry.tb_next = kept[position + 1] if position + 1 < len(kept) else None
    return kept[0] if kept else None


def _shown(run: list[TracebackType]) -> list[TracebackType]:
    if run and run[-1].tb_frame.f_code.co_name == "_call_with_frames_removed":
        return []
    return list(dropwhile(lambda entry: entry.tb_frame.f_code.co_name in _IN_C, run))


def _is_ours(entry: TracebackType) -> bool:
    name = entry.tb_frame.f_code.co_filename
    return name == _NAME or name.startswith(_HERE)
