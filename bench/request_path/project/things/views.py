"""The kinds of work that requests do, each alone."""

import threading
import time
from collections import Counter

from django.conf import settings
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render

from things.burning import burn as compute
from things.models import Thing

CHUNK = b"x" * 10_000
THINGS = [{"name": f"thing {n}", "price": n / 4, "stock": n % 7} for n in range(72)]

_lock = threading.Lock()
_counts = Counter()


def tiny(request):
    return HttpResponse("ok")


def orm(request):
    """Twenty rows as model instances."""
    things = Thing.objects.order_by("pk")[:20]
    rows = [{"name": thing.name, "price": thing.price, "made": thing.made} for thing in things]
    return JsonResponse({"things": rows})


def template(request):
    """About 10 KB."""
    return render(request, "things.html", {"title": "Things", "things": THINGS})


def stream(request, chunks):
    """So many chunks of 10 KB, counted when it is opened and when it is closed."""

    def body():
        _count("opened")
        try:
            for _ in range(chunks):
                yield CHUNK
        finally:
            _count("closed")

    return StreamingHttpResponse(body(), content_type="application/octet-stream")


def sleep(request, milliseconds):
    time.sleep(milliseconds / 1000)
    return HttpResponse("ok")


def burn(request):
    return HttpResponse(str(compute(settings.BENCH_STEPS)))


def burn_sleep_burn(request):
    """Compute, wait as for another server, compute again."""
    compute(settings.BENCH_STEPS // 3)
    time.sleep(0.03)
    return HttpResponse(str(compute(settings.BENCH_STEPS // 3)))


def upload(request):
    size = len(request.body)
    _count("uploads")
    return HttpResponse(str(size))


def counts(request):
    """Streams opened and closed, and uploads that came in complete, since the site was loaded."""
    with _lock:
        return JsonResponse({name: _counts[name] for name in ("opened", "closed", "uploads")})


def _count(name):
    with _lock:
        _counts[name] += 1
