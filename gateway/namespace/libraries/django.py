"""Django, and with it all that requires Django, belongs to its site."""

from __future__ import annotations

from gateway.namespace.libraries.library import Library


class Django(Library):
    """It keeps settings, applications and models of one project for the whole process.

    So a distribution with C code that requires Django is not shared either: it would hold the
    Django of the site that imported it first.
    """

    name = "django"
    private = True
