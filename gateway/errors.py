"""The errors that the gateway raises on purpose, each with the HTTP status of its answer."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar


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


class LoadError(GatewayError):
    """A generation of a site, which is its code as loaded once, could not be loaded.

    ``reason`` is one line for operators; ``traceback`` is the whole text for the log and for
    operators who ask for details. Neither may reach a visitor of the site.
    """

    status = 503
    what: ClassVar[str] = "did not load"
    """What the generation did, for the log."""

    def __init__(self, reason: str, traceback: str = "") -> None:
        self.reason = reason
        self.traceback = traceback
        super().__init__(reason)


class ProbeError(LoadError):
    """A generation was loaded, and did not pass its probe; ``late`` if no answer came in time."""

    what = "did not pass its probe"

    def __init__(self, reason: str, traceback: str = "", *, late: bool = False) -> None:
        self.late = late
        super().__init__(reason, traceback)


def one_line(error: BaseException) -> str:
    """Return the last part of what Python prints of an error, on one line.

    The name of the class has its module before it.
    """
    return " ".join("".join(traceback.format_exception_only(error)).split())


def reason_of(error: BaseException) -> str:
    """Return the class and the text of an error on one line, for operators."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # code of a site may raise in __str__; ``traceback`` has the same words
        text = "<exception str() failed>"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def traceback_of(error: BaseException) -> str:
    """Return everything that Python prints of an error."""
    return "".join(traceback.format_exception(error))


def listed(things: Iterable[object], shown: int, separator: str = ", ") -> str:
    """Return the first ``shown`` of some things, and how many more there are, as text."""
    texts = [str(thing) for thing in things]
    more = len(texts) - shown
    return separator.join(texts[:shown]) + (f" and {more} more" if more > 0 else "")
