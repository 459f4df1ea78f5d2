"""Pages about what surrounds the code: settings, environment, log."""

import logging
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.utils.module_loading import import_string

from shop.answers import answer

logger = logging.getLogger(__name__)


def show_settings(request: HttpRequest) -> JsonResponse:
    """Who is who."""
    return answer(
        settings.MARKER,
        settings.SECRET_KEY.removeprefix("key of "),
        sys.modules["core"].MARKER,
        sys.modules[settings.SETTINGS_MODULE].MARKER,
        import_string("core.middleware.MARKER"),
        os.path.basename(sys.modules["core"].__path__[0].removesuffix("/core")),
    )


def show_environ(request: HttpRequest) -> JsonResponse:
    """The environment, read in all the ways that there are."""
    os.environ["WRITTEN"] = settings.MARKER
    leaked = sorted(name for name in os.environ if name.startswith("GATEWAY"))
    return answer(
        os.environ["SITE"],
        os.getenv("SITE", default="nothing"),
        os.environ.copy()["SITE"],
        (os.environ | {})["SITE"],
        os.environb[b"SITE"].decode(),
        os.environ["WRITTEN"],
        # Code of the standard library, which both projects share.
        os.path.expandvars("$SITE"),
        os.path.basename(os.path.expanduser("~")),
        os.path.basename(urllib.request.getproxies()["http"]),
        os.path.basename(tempfile._candidate_tempdir_list()[0]),
        *leaked,
    )


def show_child_process(request: HttpRequest) -> JsonResponse:
    """The environment of programs that the site starts."""
    shell = subprocess.run(["sh", "-c", "echo $SITE"], stdout=subprocess.PIPE, text=True)
    with os.popen("basename ~") as pipe:
        return answer(shell.stdout.strip(), pipe.read().strip())


def show_folder(request: HttpRequest) -> JsonResponse:
    """The working directory, at the start and now."""
    return answer(
        settings.MARKER_OF_THE_FOLDER,
        Path("marker.txt").read_text().strip(),
        os.path.basename(os.getcwd()),
        Path("shop/../marker.txt").resolve().parent.name,
    )


def move_elsewhere(request: HttpRequest) -> JsonResponse:
    """Change the working directory, and leave it so."""
    before = os.path.basename(os.getcwd())
    os.chdir("/")
    return answer(before)


def exit(request: HttpRequest) -> JsonResponse:
    """Do what ends a program."""
    sys.exit(3)


def write_log(request: HttpRequest, word: str) -> JsonResponse:
    """One line in the log of this site, and nowhere else."""
    logger.warning("%s", word)
    root = logging.getLogger()
    (handler,) = root.handlers
    return answer(os.path.basename(os.path.dirname(handler.baseFilename)))
