"""The table of this project."""

from django.db import models


class Product(models.Model):
    """Who made what."""

    name = models.CharField(max_length=40)
    maker = models.CharField(max_length=40)

    def __str__(self) -> str:
        return f"{self.name} by {self.maker}"
