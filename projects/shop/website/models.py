"""What the shop keeps: teas, and the orders for them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

if TYPE_CHECKING:
    from .session import Line


class OutOfStock(Exception):
    """More of a product was ordered than there is."""

    def __init__(self, product: Product) -> None:
        self.product = product
        super().__init__(f"Not enough {product} left")


class Product(models.Model):
    """A tea, sold by the tin."""

    name = models.CharField(max_length=60, unique=True)
    slug = models.SlugField(max_length=60, unique=True, help_text="Its part of the address.")
    origin = models.CharField(max_length=80)
    description = models.TextField(max_length=600)
    price = models.DecimalField(
        max_digits=6,
        decimal_places=2,
        validators=[MinValueValidator(Decimal("0.01"))],
        help_text="For a tin, in euros.",
    )
    stock = models.PositiveIntegerField(default=0, help_text="Tins left.")
    # The colour goes into a style sheet and a drawing as it stands, hence so strict.
    colour = models.CharField(
        max_length=7,
        validators=[RegexValidator(r"\A#[0-9a-f]{6}\Z", "Write it as #c8752c.")],
        help_text="Of the tea in the cup, such as #c8752c.",
    )
    temperature = models.PositiveSmallIntegerField(help_text="Of the water, in degrees Celsius.")
    minutes = models.PositiveSmallIntegerField(help_text="For which it steeps.")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("product", args=[self.slug])


class Order(models.Model):
    """What a customer asked for, and where it goes."""

    name = models.CharField(max_length=80)
    email = models.EmailField("e-mail")
    address = models.TextField(max_length=400)
    placed_at = models.DateTimeField(default=timezone.now, editable=False)
    is_sent = models.BooleanField("sent", default=False)

    class Meta:
        ordering = ("-placed_at", "-pk")

    def __str__(self) -> str:
        return f"Order {self.pk}"

    @property
    def total(self) -> Decimal:
        """The price of all lines, in euros."""
        return sum((line.total for line in self.lines.all()), Decimal())

    def place(self, lines: Sequence[Line]) -> None:
        """Save the order with its lines and take its tins off the shelf: all of it or nothing.

        Raises OutOfStock.
        """
        with transaction.atomic():
            # Asking for the stock and lowering it in one statement leaves no moment in between in
            # which somebody else could buy the last tin. Always in the same order, so that two
            # orders never wait for each other.
            for line in sorted(lines, key=lambda line: line.product.pk):
                shelf = Product.objects.filter(pk=line.product.pk, stock__gte=line.quantity)
                if not shelf.update(stock=F("stock") - line.quantity):
                    raise OutOfStock(line.product)
            self.save()
            OrderLine.objects.bulk_create(
                OrderLine(
                    order=self,
                    product=line.product,
                    quantity=line.quantity,
                    price=line.product.price,
                )
                for line in lines
            )


class OrderLine(models.Model):
    """One product in an order."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    # A product that was ever sold can be sold out, not deleted.
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+")
    quantity = models.PositiveIntegerField()
    # What a tin cost on that day, whatever it costs now.
    price = models.DecimalField(max_digits=6, decimal_places=2)

    def __str__(self) -> str:
        return f"{self.product} ({self.quantity})"

    @property
    def total(self) -> Decimal:
        return self.quantity * self.price
