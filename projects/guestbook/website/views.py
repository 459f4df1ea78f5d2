"""The pages of the guestbook."""

import logging

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from .forms import EntryForm
from .models import Entry
from .session import Visitor

logger = logging.getLogger(__name__)

ENTRIES_ON_A_PAGE = 6


@require_http_methods(["GET", "HEAD", "POST"])
def book(request: HttpRequest) -> HttpResponse:
    """The book, newest entry first, and the form to sign it."""
    visitor = Visitor(request.session)
    if request.method == "POST":
        form = EntryForm(request.POST)
        if form.is_valid():
            entry = form.save()
            visitor.remember(entry.name)
            logger.info("entry %d was written", entry.pk)
            messages.success(request, f"Thank you, {entry.name}. Your entry is in the book.")
            # A redirect, so that reloading the page does not send the form again.
            return redirect("book")
    else:
        # Turning a page is not another visit.
        if "page" not in request.GET:
            visitor.arrive()
        form = EntryForm(initial={"name": visitor.name})

    entries = Paginator(Entry.objects.visible(), ENTRIES_ON_A_PAGE)
    page = entries.get_page(request.GET.get("page"))
    return render(request, "website/book.html", {"form": form, "page": page, "visitor": visitor})


@require_POST
def forget(request: HttpRequest) -> HttpResponse:
    """Forget the visitor: for shared computers, and for those who want it so."""
    Visitor(request.session).forget()
    messages.info(request, "Forgotten. Your entries stay in the book, your name left this browser.")
    return redirect("book")
