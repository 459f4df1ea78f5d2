"""Keeping the values of a site's environment out of everything that is shown or logged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from gateway.config.environment import INHERITED, INHERITED_PREFIX

MASK: Final = "********"
SHORTEST: Final = 6
"""Characters that a value needs to be masked. Shorter ones (``1``, ``true``, ``5432``) are rarely
secret, and taking them out would make a traceback unreadable."""

PUBLIC: Final = INHERITED | {"DJANGO_SETTINGS_MODULE", "VIRTUAL_ENV"}
"""Variables that describe the machine or stand in every traceback of a Django project."""


class Mask:
    """Takes the values of a site's environment out of a text."""

    def __init__(self, env: Mapping[str, str]) -> None:
        values = (
            value
            for name, value in env.items()
            if name not in PUBLIC and not name.startswith(INHERITED_PREFIX)
        )
        secrets = {form for value in values for form in _forms(value) if len(form) >= SHORTEST}
        # The longest first: of a value that contains another, no part may stay readable.
        self._secrets = sorted(secrets, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """``text`` with `MASK` in place of every value."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


def _forms(value: str) -> Iterator[str]:
    """The forms in which a value, or the part of it that counts, turns up in messages."""
    yield value
    yield repr(value)[1:-1]
    yield from (line.strip() for line in value.splitlines())
    try:
        password = urlsplit(value).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
