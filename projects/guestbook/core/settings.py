"""Settings of the guestbook. What differs from machine to machine comes from the environment:

SECRET_KEY            required, except while DEBUG is on
DEBUG                 1 to see error pages with all their detail; off by default
ALLOWED_HOSTS         host names this site answers to, separated by commas
CSRF_TRUSTED_ORIGINS  origins that may post forms, such as https://guestbook.example; only needed
                      where a proxy ends TLS and Django cannot see it
HTTPS                 1 where visitors come by https: cookies then travel by https alone
DATABASE_URL          such as postgres://user:password@host/name; SQLite by default
"""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

PROJECT = "guestbook"
BASE_DIR = Path(__file__).resolve().parent.parent


def is_on(name: str) -> bool:
    """Whether the environment variable says yes."""
    return os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}


def values_of(name: str, default: str = "") -> list[str]:
    """The values of an environment variable that lists them with commas."""
    return [value.strip() for value in os.environ.get(name, default).split(",") if value.strip()]


# Who may see what

DEBUG = is_on("DEBUG")

SECRET_KEY = os.environ.get("SECRET_KEY", "")
if not SECRET_KEY:
    # A key that stands in a public file protects nothing, so it is never a silent fallback: only
    # DEBUG, which no public site turns on, brings it in.
    if not DEBUG:
        raise ImproperlyConfigured("Set SECRET_KEY in the environment, or DEBUG=1 to try things.")
    SECRET_KEY = "django-insecure-guestbook-for-development-only"

# Browsers resolve every name below .localhost to this machine.
ALLOWED_HOSTS = values_of("ALLOWED_HOSTS", ".localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = values_of("CSRF_TRUSTED_ORIGINS")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = is_on("HTTPS")


# What the project is made of

INSTALLED_APPS = [
    "website",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "core.urls"
WSGI_APPLICATION = "core.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "website.context_processors.served_by",
            ],
        },
    },
]


# Data

if database_url := os.environ.get("DATABASE_URL"):
    # Needed by those who choose another database, so imported for them only.
    import dj_database_url

    DATABASES = {"default": dj_database_url.parse(database_url)}
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": BASE_DIR / "db.sqlite3",
            # SQLite has one writer at a time: the others wait this many seconds for their turn.
            "OPTIONS": {"timeout": 20},
        },
    }

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]


# Language, time, files, log

LANGUAGE_CODE = "en-gb"
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        # Several sites may share a console, so every line says whose it is.
        "line": {"format": f"[{PROJECT}] {{levelname}} {{name}}: {{message}}", "style": "{"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    # Naming the logger takes Django's own handlers off it: each line is then written once.
    "loggers": {"django": {"level": "INFO"}},
}
