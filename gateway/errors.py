"""The errors that the gateway raises on purpose, each with the HTTP status of its answer."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

_LONGEST_REASON: Final = 2_000
_LONGEST_TRACEBACK: Final = 50_000


class GatewayError(Exception):
    """The base of every error that the gateway raises on purpose."""

    status: ClassVar[int] = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with ``sites.json``.

    ``path`` is a JSON path (``$.sites.shop.hosts[0]``). ``message`` names the wrong value and the
    remedy. ``site`` is the site that cannot be served because of it; ``None`` means that the fault
    belongs to the file as a whole.
    """

    path: str
    message: str
    site: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class ConfigError(GatewayError):
    """``sites.json`` cannot be used; ``faults`` has everything that is wrong with it."""

    status = 422

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class UnknownSiteError(GatewayError):
    """An operator named a site that ``sites.json`` does not have."""

    status = 404


class FolderError(GatewayError):
    """The folder of a site cannot be entered, so that none of its code can run."""


class CodeError(GatewayError):
    """What the code of a site has raised, as text.

    The class of an exception of a site is code of the site, which runs when somebody asks the
    exception for its text. So `told` makes the text on the thread that ran the code. Beyond it,
    only this error travels. ``reason`` is one line for operators; ``traceback`` is the whole text
    for the log and for operators who ask for details. Neither may reach a visitor of the site.
    """

    def __init__(self, reason: str, traceback: str = "") -> None:
        self.reason = reason
        self.traceback = traceback
        super().__init__(reason)


class LoadError(CodeError):
    """A generation of a site, which is its code as loaded once, could not be loaded."""

    status = 503
    what: ClassVar[str] = "did not load"
    """What the generation did, for the log."""


class ProbeError(LoadError):
    """A generation was loaded, and did not pass its probe; ``late`` if no answer came in time."""

    what = "did not pass its probe"

    def __init__(self, reason: str, traceback: str = "", *, late: bool = False) -> None:
        self.late = late
        super().__init__(reason, traceback)


def told(error: BaseException) -> CodeError:
    """Return an error as text; whatever code of a site this runs and raises.

    The text is bounded in length, but not the time that it takes.
    """
    if isinstance(error, CodeError):
        return error
    name = class_name(error)
    try:
        printed = traceback.TracebackException.from_exception(error)
        words, text = " ".join(str(printed).split()), "".join(printed.format())
    except BaseException as failure:
        words = f"<its text cannot be made: {class_name(failure)}>"
        text = f"{name}: {words}\n"
    reason = f"{name}: {words}" if words else name
    return CodeError(_shortened(reason, _LONGEST_REASON), _shortened(text, _LONGEST_TRACEBACK))


def reason_of(error: BaseException) -> str:
    """Return the class and the text of an error on one line, for operators; see `told`."""
    return told(error).reason


def traceback_of(error: BaseException) -> str:
    """Return everything that Python prints of an error; see `told`."""
    text = told(error).traceback
    return text or "".join(traceback.format_exception(error))


def class_name(error: BaseException) -> str:
    """Return the name of the class of an error, without asking its metaclass."""
    name: str = type.__dict__["__name__"].__get__(type(error))
    return name


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} [{len(text) - 2 * half} characters are left out] {text[-half:]}"


def listed(things: Iterable[object], shown: int, separator: str = ", ") -> str:
    """Return the first ``shown`` of some things, and how many more there are, as text."""
    texts = [str(thing) for thing in things]
    more = len(texts) - shown
    return separator.join(texts[:shown]) + (f" and {more} more" if more > 0 else "")
