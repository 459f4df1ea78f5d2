"""What can go wrong in the gateway, each kind with the HTTP status it becomes."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar


class GatewayError(Exception):
    """Base of every error the gateway raises on purpose."""

    status: ClassVar[int] = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with ``sites.json``.

    ``path`` is a JSON path (``$.sites.shop.hosts[0]``), ``message`` names the offending value
    and the remedy, ``site`` the site that has to fail for it (``None``: the file as a whole).
    """

    path: str
    message: str
    site: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class ConfigError(GatewayError):
    """``sites.json`` cannot be used; ``faults`` names everything that is wrong with it."""

    status = 422

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class UnknownSiteError(GatewayError):
    """An operator named a site that ``sites.json`` does not have."""

    status = 404


class LoadError(GatewayError):
    """A generation of a site did not come up.

    ``reason`` is one line for operators; ``traceback`` is the whole text for the log and for
    those who may see details. Neither may reach a visitor of the site.
    """

    status = 503

    def __init__(self, reason: str, traceback: str = "") -> None:
        self.reason = reason
        self.traceback = traceback
        super().__init__(reason)


def one_line(error: BaseException) -> str:
    """What Python prints last of an error, on one line: with the module of its class."""
    return " ".join("".join(traceback.format_exception_only(error)).split())


def reason_of(error: BaseException) -> str:
    """The same in short, as operators read it."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # the code of a site may raise anywhere; in the words of ``traceback``
        text = "<exception str() failed>"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def traceback_of(error: BaseException) -> str:
    """All that Python prints of an error."""
    return "".join(traceback.format_exception(error))


def listed(things: Iterable[object], shown: int, separator: str = ", ") -> str:
    """The first ``shown`` of some things, and how many more there are."""
    texts = [str(thing) for thing in things]
    more = len(texts) - shown
    return separator.join(texts[:shown]) + (f" and {more} more" if more > 0 else "")
