"""What can be seen of the import system: its frames, in tracebacks and by who walks the stack."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_IMPORTLIB = "<frozen importlib._bootstrap"
_NAME = f"{_IMPORTLIB} of a gateway.namespace>"


def internal(function: F) -> F:
    """Let the frames of ``function`` be taken for those of importlib.

    ``warnings`` skips these when it looks for the code to blame, and it goes by the file name.
    """
    code: Any = function
    code.__code__ = code.__code__.replace(co_filename=_NAME)
    return function


def drop_own_frame(exc: BaseException) -> None:
    """Take the frame that handles ``exc`` out of its traceback; a bare ``raise`` must follow."""
    if exc.__traceback__ is not None:
        exc.__traceback__ = exc.__traceback__.tb_next


def trim(exc: BaseException) -> TracebackType | None:
    """The traceback of ``exc`` without the frames of the import system.

    The rule is import.c's: every run of them for an ``ImportError``, else those runs that end in
    ``_call_with_frames_removed``.
    """
    always = isinstance(exc, ImportError)
    kept: list[TracebackType] = []
    run: list[TracebackType] = []
    entry = exc.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code.co_filename.startswith(_IMPORTLIB):
            run.append(entry)
        else:
            if run and not always and not _calls_out(run[-1]):
                kept += run
            run = []
            kept.append(entry)
        entry = entry.tb_next
    if run and not always and not _calls_out(run[-1]):
        kept += run
    for position, entry in enumerate(kept):
        entry.tb_next = kept[position + 1] if position + 1 < len(kept) else None
    return kept[0] if kept else None


def _calls_out(entry: TracebackType) -> bool:
    return entry.tb_frame.f_code.co_name == "_call_with_frames_removed"
