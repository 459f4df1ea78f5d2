"""What serves this project; the Wagtail site of the tests has this page as well."""

import os
import platform

import django
from django.http import HttpRequest, JsonResponse


def facts(request: HttpRequest) -> JsonResponse:
    """Versions and process."""
    return JsonResponse(
        {
            "django": django.get_version(),
            "python": platform.python_version(),
            "pid": os.getpid(),
        }
    )
