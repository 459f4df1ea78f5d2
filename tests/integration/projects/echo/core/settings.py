"""Settings of a project that believes its proxies, as many do."""

SECRET_KEY = "for tests only"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "core.urls"
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
USE_X_FORWARDED_HOST = True
USE_X_FORWARDED_PORT = True
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = None
