"""What the shop remembers of a visitor between two requests."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from django.contrib.sessions.backends.base import SessionBase

from .models import Order, Product


@dataclass(frozen=True)
class Line:
    """One product in a basket."""

    product: Product
    quantity: int

    @property
    def total(self) -> Decimal:
        return self.quantity * self.product.price


class Basket:
    """The basket of the visitor whose session this is.

    The session holds nothing but numbers of tins by product key. Names and prices are looked up
    each time, so a basket never shows those of yesterday.
    """

    # Of one tea, in one order.
    MOST_TINS = 12

    def __init__(self, session: SessionBase) -> None:
        self._session = session

    @property
    def _tins(self) -> dict[str, int]:
        return self._session.get("basket", {})

    @property
    def count(self) -> int:
        """How many tins are in the basket."""
        return sum(line.quantity for line in self.lines)

    # Looked up once and kept while the page is made: the count and the total need it, too.
    @cached_property
    def lines(self) -> list[Line]:
        """The products in the basket, without those that left the catalogue in the meantime."""
        products = Product.objects.filter(pk__in=self._tins)
        return [Line(product, self._tins[str(product.pk)]) for product in products]

    @property
    def total(self) -> Decimal:
        """The price of everything, in euros."""
        return sum((line.total for line in self.lines), Decimal())

    def quantity_of(self, product: Product) -> int:
        return self._tins.get(str(product.pk), 0)

    def put(self, product: Product, quantity: int) -> int:
        """Have so many tins of the product in the basket, none to take it out.

        Returns how many there are now: never more than are left, or than MOST_TINS.
        """
        quantity = min(quantity, product.stock, self.MOST_TINS)
        tins = dict(self._tins)
        # JSON, in which sessions are kept, knows no keys but strings.
        tins[str(product.pk)] = quantity
        # Assigned, not changed in place: a session notices only the former, and is then saved.
        self._session["basket"] = {key: number for key, number in tins.items() if number}
        self.__dict__.pop("lines", None)
        return quantity

    def hand_over(self, order: Order) -> None:
        """Empty the basket: its content is an order now."""
        self._session.pop("basket", None)
        self._session["order"] = order.pk
        self.__dict__.pop("lines", None)

    @property
    def last_order(self) -> int | None:
        """The key of the order that this visitor placed last."""
        return self._session.get("order")
