"""What ``wagtail start`` makes, with Wagtail's API."""

from core.settings.base import *  # noqa: F403
from core.settings.base import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "wagtail.api.v2", "rest_framework"]
DEBUG = False
SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
# No manifest: nothing is collected.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
