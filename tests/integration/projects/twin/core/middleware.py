"""Named as a string in the settings."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

MARKER = "@MARKER@"


class Signature:
    """Signs every answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        response["X-Signature"] = MARKER
        return response
