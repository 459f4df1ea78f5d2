"""Copied many times when the project is, so that many requests find something to import."""

from core import late_settings

from shop import items
from shop.late import in_thread

MARKER = "@MARKER@"


def where() -> str:
    """The project of all that this has imported, if it is one."""
    found = {late_settings.MARKER, items.MARKER, in_thread.MARKER, in_thread.from_environ()}
    return "+".join(sorted(found))
