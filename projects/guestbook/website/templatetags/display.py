"""How names are drawn."""

from zlib import crc32

from django import template

register = template.Library()


@register.filter
def monogram(name: str) -> str:
    """The first letters of the first and the last word: "Ada King Lovelace" becomes "AL"."""
    words = name.split()
    return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()


@register.filter
def hue(name: str) -> int:
    """A colour for a name, always the same one, as an angle on the colour wheel.

    `hash()` would not do: for strings it differs from process to process.
    """
    return crc32(name.casefold().encode()) % 360
