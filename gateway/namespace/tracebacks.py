"""What can be seen of the import system: its frames, in tracebacks and by who walks the stack."""

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
    """Let the frames of ``function`` be taken for those of importlib.

    ``warnings`` skips these when it looks for the code to blame, and it goes by the file name.
    """
    code: Any = function
    code.__code__ = code.__code__.replace(co_filename=_NAME)
    return function


def is_internal(code: CodeType) -> bool:
    """Whether ``code`` is of an import system, or else of this package."""
    return code.co_filename.startswith((_IMPORTLIB, _HERE))


def drop_own_frames(exc: BaseException) -> None:
    """Take the frame that handles ``exc``, and those of ours that it called, out of its traceback.

    A bare ``raise`` must follow.
    """
    entry = exc.__traceback__
    while entry is not None and _is_ours(entry):
        entry = entry.tb_next
    exc.__traceback__ = entry


def trim(exc: BaseException) -> TracebackType | None:
    """The traceback of ``exc`` without the frames of the import system.

    The rule is import.c's: every run of them for an ``ImportError``, else those runs that end in
    ``_call_with_frames_removed``. What import.c does in C has no frame at all.
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
