"""The pages of the project."""

import os

from django.http import HttpRequest, HttpResponse, JsonResponse

RELEASE = "first"


def front(request: HttpRequest) -> HttpResponse:
    """Who answers."""
    return JsonResponse(
        {
            "site": os.environ["SITE"],
            "greeting": os.environ.get("GREETING", ""),
            "release": RELEASE,
            "pid": os.getpid(),
        }
    )


def own_health(request: HttpRequest) -> HttpResponse:
    """At an address that the gateway has a page at, too."""
    return HttpResponse(f"the health of {os.environ['SITE']}")
