"""The URLconf of a site."""

from __future__ import annotations

from gateway.django import facts
from gateway.namespace import Namespace


def load(namespace: Namespace) -> None:
    """Import the URLconf, which Django would do at the first request.

    So an error in it shows when the site is loaded, and the first visitor does not wait for it.
    Does nothing for a site without Django. Raises what the URLconf raises.
    """
    settings = facts.settings(namespace)
    if settings is not None and getattr(settings, "ROOT_URLCONF", None):
        _ = namespace.import_module("django.urls").get_resolver().url_patterns
