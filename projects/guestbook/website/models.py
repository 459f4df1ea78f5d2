"""What the guestbook keeps: its entries."""

from django.db import models
from django.utils import timezone


class EntryQuerySet(models.QuerySet):
    def visible(self) -> "EntryQuerySet":
        """The entries that everybody may read."""
        return self.filter(is_hidden=False)


class Entry(models.Model):
    """What one visitor wrote on one visit."""

    name = models.CharField(max_length=60)
    message = models.TextField(max_length=1000)
    written_at = models.DateTimeField(default=timezone.now, editable=False)
    is_hidden = models.BooleanField(
        "hidden",
        default=False,
        help_text="A hidden entry is kept, and shown to nobody but the staff.",
    )

    objects = EntryQuerySet.as_manager()

    class Meta:
        # The key settles the order of two entries of the same moment, so that none of them is
        # on two pages of the book, or on no page at all.
        ordering = ("-written_at", "-pk")
        indexes = (models.Index(fields=["-written_at", "-id"], name="entry_newest_first"),)
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return f"{self.name}, {self.written_at:%d %B %Y}"
