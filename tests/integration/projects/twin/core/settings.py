"""Settings: the same names as in the other project, other values."""

import os
from pathlib import Path

MARKER = "@MARKER@"
BASE_DIR = Path(__file__).resolve().parents[1]
# From the folder that the project is started in, as some do.
MARKER_OF_THE_FOLDER = Path("marker.txt").read_text().strip()

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["@MARKER@.localhost"]
ROOT_URLCONF = "core.urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "shop"]
MIDDLEWARE = ["core.middleware.Signature", "django.middleware.common.CommonMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        "OPTIONS": {"timeout": 60},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    # Both projects call their place in memory the same.
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "shared-name",
    },
    "files": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": BASE_DIR / "cache",
    },
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "@MARKER@ {name} {message}", "style": "{"}},
    "handlers": {
        "file": {
            "class": "logging.FileHandler",
            "filename": BASE_DIR / "log.txt",
            "formatter": "line",
        }
    },
    "root": {"handlers": ["file"], "level": "INFO"},
}
