"""What is checked with pydantic, whose annotations are strings here."""

from __future__ import annotations

from pydantic import BaseModel

from shop.items import MARKER, Colour


class Order(BaseModel):
    """Refers to a class that comes later."""

    colour: Colour
    lines: list[Line]


class Line(BaseModel):
    """Part of an order."""

    maker: str
    default: str = MARKER
