"""What every template may use, beside what its view hands over."""

import os
import platform

import django
from django.conf import settings
from django.http import HttpRequest


def served_by(request: HttpRequest) -> dict[str, object]:
    """Which project answers, and from where: the footer shows that sites share a process.

    A project whose visitors need not know its versions leaves this out.
    """
    return {
        "served_by": {
            "project": settings.PROJECT,
            "django": django.get_version(),
            "python": platform.python_version(),
            "process": os.getpid(),
        }
    }
