"""The API."""

from typing import ClassVar

import psycopg
from django.db import IntegrityError, transaction
from rest_framework import filters, serializers, viewsets

from books.models import Book


class BookSerializer(serializers.ModelSerializer):
    """A book as JSON. It leaves it to the database to see that no ISBN comes twice."""

    class Meta:
        model = Book
        fields = ("id", "isbn", "title", "subjects", "added")
        extra_kwargs: ClassVar = {"isbn": {"validators": []}}


class BookViewSet(viewsets.ModelViewSet):
    """Everything one can do with books."""

    queryset = Book.objects.all()
    serializer_class = BookSerializer
    filter_backends = (filters.SearchFilter, filters.OrderingFilter)
    search_fields = ("title",)

    def perform_create(self, serializer: BookSerializer) -> None:
        """Save a book, or say that there is one already."""
        try:
            with transaction.atomic():
                serializer.save()
        except IntegrityError as error:
            # Django's exception, of the Django that runs here; its cause is psycopg's.
            assert isinstance(error.__cause__, psycopg.errors.UniqueViolation), error.__cause__
            raise serializers.ValidationError({"isbn": ["The library has it."]}) from error
