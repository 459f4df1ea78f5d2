"""Something to read."""

from django.db import models


class Thing(models.Model):
    """A row with a few columns of different types."""

    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.IntegerField()
    made = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
