"""Data whose annotations are strings: the standard library looks for the module they are from."""

from __future__ import annotations

import dataclasses
import enum
import functools
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import ClassVar, NamedTuple

MARKER = "@MARKER@"


class Colour(enum.Enum):
    """Of two colours with one name."""

    OWN = "@MARKER@"


class Size(NamedTuple):
    """A tuple with names."""

    width: int
    maker: str = MARKER


SMALL = Size(1)


@dataclass
class Item:
    """What ``ClassVar``, ``InitVar`` and ``KW_ONLY`` mean can be told only from this module."""

    MAKER: ClassVar[str] = MARKER

    name: str
    colour: Colour
    _: KW_ONLY
    discount: InitVar[int] = 0
    size: Size = SMALL
    maker: str = field(default=MARKER)

    def __post_init__(self, discount: int) -> None:
        assert discount == 0


@functools.singledispatch
def describe(thing: object) -> str:
    """Registered below by annotation, which is a string."""
    return "nothing"


@describe.register
def _(thing: Item) -> str:
    return thing.maker


def field_names() -> list[str]:
    """The fields of an item."""
    return [one.name for one in dataclasses.fields(Item)]
