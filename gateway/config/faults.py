"""The words for faults of ``sites.json``: the place, the wrong value, and the remedy."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import Final

from gateway.config.document import is_site_name
from gateway.errors import Fault

Loc = tuple[str | int, ...]
"""The place of a value: the keys and indices that lead to it from the top of the file."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN_LENGTH: Final = 60
_LISTED: Final = 10


def json_path(loc: Loc) -> str:
    """Return a location as a JSON path (RFC 9535), such as ``$.sites["a.example"].hosts[0]``.

    A key that is an identifier follows a dot; every other one stands in brackets and quotes.
    """
    parts = ["$"]
    for step in loc:
        if isinstance(step, str) and _IDENTIFIER.fullmatch(step):
            parts.append(f".{step}")
        else:
            parts.append(f"[{json.dumps(step, ensure_ascii=False)}]")
    return "".join(parts)


def fault_at(loc: Loc, message: str) -> Fault:
    """Return a fault of the site that ``loc`` lies in.

    An entry without a valid name cannot be a site, so its faults belong to the file as a whole.
    """
    match loc:
        case ("sites", str() as name, *_) if is_site_name(name):
            return Fault(json_path(loc), message, site=name)
    return Fault(json_path(loc), message)


def shown(value: object) -> str:
    """Return a value of the file for a message: an object's or list's kind, else shortened JSON."""
    if isinstance(value, dict | list):
        return kind(value)
    if isinstance(value, str) and len(value) > _SHOWN_LENGTH:
        value = value[:_SHOWN_LENGTH] + "…"
    return json.dumps(value, ensure_ascii=False)


def kind(value: object) -> str:
    """Return the kind of a value, for a message that must not show the value itself."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return "a string"
        case bool():
            return "a boolean"
        case None:
            return "null"
    return "a number"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the remedy for a word that is not among the known ones."""
    words = list(known)
    matches = difflib.get_close_matches(word.lower(), words, n=1)
    if matches:
        return f"did you mean {shown(matches[0])}?"
    listed = ", ".join(map(shown, words[:_LISTED])) + (", …" if len(words) > _LISTED else "")
    return f"known are {listed}" if words else "there is none at all"
