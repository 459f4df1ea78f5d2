"""Only what the views need: what is measured is the way to them, not middleware.

``CommonMiddleware`` stays for its ``Content-Length``, without which some servers close connections.
"""

import json
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "core.urls"
WSGI_APPLICATION = "core.wsgi.application"
INSTALLED_APPS = ["things"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
_DATABASE = BASE_DIR / "database.json"
DATABASES = {
    "default": json.loads(_DATABASE.read_text())
    if _DATABASE.exists()
    else {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
# The default is 2.5 MB; what happens above it is the matter of Django, not of servers.
DATA_UPLOAD_MAX_MEMORY_SIZE = None

BENCH_STEPS = int(os.environ.get("BENCH_STEPS", "0"))
"""How many steps a burner takes; the same number under every server of a run."""
