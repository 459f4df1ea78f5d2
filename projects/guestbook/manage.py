#!/usr/bin/env python
"""Django's command line for the guestbook."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings")
    # A server is always given a SECRET_KEY (see sites.json). Where there is none, somebody tries
    # the project by hand, and `python manage.py runserver` should just work: that is development.
    if not os.environ.get("SECRET_KEY"):
        os.environ.setdefault("DEBUG", "1")

    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
