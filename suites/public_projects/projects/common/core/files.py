"""Static and uploaded files, which a web server would serve in front of either server."""

from django.conf import settings
from django.contrib.staticfiles.views import serve as serve_static
from django.urls import path
from django.views.static import serve as serve_media

urlpatterns = [
    path("static/<path:path>", serve_static, {"insecure": True}),
    path("media/<path:path>", serve_media, {"document_root": settings.MEDIA_ROOT}),
]
