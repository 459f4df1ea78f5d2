"""How the staff look after the book: read everything, hide what should not be in it."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.translation import ngettext

from .models import Entry

admin.site.site_header = "Guestbook"
admin.site.site_title = "Guestbook"
admin.site.index_title = "Behind the book"


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin):
    list_display = ("name", "beginning", "written_at", "is_visible")
    list_filter = ("is_hidden", "written_at")
    search_fields = ("name", "message")
    date_hierarchy = "written_at"
    readonly_fields = ("written_at",)
    actions = ("hide", "show")

    @admin.display(description="message")
    def beginning(self, entry: Entry) -> str:
        return Truncator(entry.message).chars(70)

    @admin.display(description="visible", boolean=True, ordering="-is_hidden")
    def is_visible(self, entry: Entry) -> bool:
        return not entry.is_hidden

    # An action is offered to everybody who may see the list, unless it names what it needs.
    @admin.action(description="Hide the selected entries", permissions=["change"])
    def hide(self, request: HttpRequest, entries: QuerySet) -> None:
        count = entries.update(is_hidden=True)
        text = ngettext("%d entry is hidden now.", "%d entries are hidden now.", count)
        self.message_user(request, text % count, messages.SUCCESS)

    @admin.action(description="Show the selected entries again", permissions=["change"])
    def show(self, request: HttpRequest, entries: QuerySet) -> None:
        count = entries.update(is_hidden=False)
        text = ngettext("%d entry is visible now.", "%d entries are visible now.", count)
        self.message_user(request, text % count, messages.SUCCESS)
