"""Read the bytes of ``sites.json`` as JSON, and refuse whatever could mean two things."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any, Final, NoReturn

from gateway.config.faults import Loc, fault_at
from gateway.disk.files import UnusableFileError, opened, read_all
from gateway.errors import ConfigError, Fault

LARGEST: Final = 10_000_000
"""The most bytes of a ``sites.json``."""
_SMALLEST_FILE: Final = """{"sites": {
  "shop.example": {"path": "projects/shop"}
}}"""


def read_source(source: Path) -> bytes:
    """Return the contents of ``sites.json``.

    Raises ``ConfigError`` if there is no such file, if it is not a regular file, cannot be read or
    is too large, or if everybody may write to it, because whoever can edit it decides which code
    the gateway runs.
    """
    try:
        with opened(source) as descriptor:
            if os.fstat(descriptor).st_mode & stat.S_IWOTH:
                _refuse(f"everybody can write to {source}; take that away: chmod o-w {source}")
            return read_all(descriptor, LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        _refuse(
            f"there is no file {source}; create it, or name another one with GATEWAY_SITES. "
            f"A small one:\n{_SMALLEST_FILE}"
        )
    except UnusableFileError as error:
        if os.path.isdir(source):
            _refuse(f"{source} is a folder; name the file in it with GATEWAY_SITES")
        _refuse(f"{source} {error.strerror}")
    except OSError as error:
        _refuse(
            f"{source} cannot be read ({error.strerror}); the gateway runs as user {os.geteuid()}, "
            "which has to be able to read the file and to enter the folders above it"
        )


def parse_source(text: bytes) -> tuple[dict[str, Any], list[Fault]]:
    """Return the object in ``text``, and a fault for each key that an object has twice.

    The last value of such a key counts, as in other JSON parsers. Raises ``ConfigError`` if
    ``text`` is not an object in JSON (RFC 8259) in UTF-8; a byte order mark is allowed.
    """
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        _refuse(f"not UTF-8 on line {line}; save the file in the encoding UTF-8")
    try:
        tree = json.loads(decoded, object_pairs_hook=_Object, parse_constant=_refuse_constant)
        # An escape for half of a character beyond U+FFFF is valid JSON, but a string with it
        # cannot be encoded, and so neither logged nor sent.
        json.dumps(tree, ensure_ascii=False).encode()
        faults = _repetitions(tree, ())
    except json.JSONDecodeError as error:
        hint = _hint(decoded, error.pos)
        _refuse(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}{hint}")
    except UnicodeEncodeError:
        _refuse(r"an escape such as \ud800 stands alone; it is half a character")
    except RecursionError:
        _refuse("brackets are nested too deeply")
    except ValueError:
        # Python limits the digits of integers, because reading them has quadratic cost
        # (CVE-2020-10735).
        _refuse("a number has too many digits")
    if not isinstance(tree, dict):
        _refuse(f"the file must hold one object. A small one:\n{_SMALLEST_FILE}")
    return tree, faults


class _Object(dict[str, Any]):
    """An object of the file; ``repeated`` has the keys that it has more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs) if len(self) < len(pairs) else {}
        self.repeated = [key for key, count in counts.items() if count > 1]


def _repetitions(value: object, loc: Loc) -> list[Fault]:
    if isinstance(value, list):
        return [fault for i, item in enumerate(value) for fault in _repetitions(item, (*loc, i))]
    if not isinstance(value, _Object):
        return []
    faults = [
        fault_at((*loc, key), "this key stands here more than once; keep one of them")
        for key in value.repeated
    ]
    for key, item in value.items():
        faults += _repetitions(item, (*loc, key))
    return faults


def _hint(text: str, position: int) -> str:
    """Return advice for the most common mistakes in JSON."""
    rest = text[position:].lstrip()
    if not text.strip():
        return "; the file is empty"
    if rest.startswith("'"):
        return "; strings stand in double quotes"
    if rest.startswith(("//", "/*", "#")):
        return "; JSON has no comments"
    if rest.removeprefix(",").lstrip().startswith(("}", "]")):
        return "; there is no comma after the last entry"
    return ""


def _refuse_constant(name: str) -> NoReturn:
    _refuse(f"not JSON: {name} is not a number")


def _refuse(message: str) -> NoReturn:
    # Not chained: the errors of JSON and of the decoder contain the text, which may hold secrets.
    raise ConfigError([Fault("$", message)]) from None
