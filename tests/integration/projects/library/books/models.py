"""What the library keeps."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Book(models.Model):
    """A book, once."""

    isbn = models.CharField(max_length=13, unique=True)
    title = models.CharField(max_length=200)
    # A column type that only PostgreSQL has, and that psycopg has to adapt.
    subjects = ArrayField(models.CharField(max_length=40), default=list)
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("title",)

    def __str__(self) -> str:
        return self.title
