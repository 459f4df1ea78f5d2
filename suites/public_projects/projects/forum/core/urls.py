"""A forum and Django's admin."""

from django.contrib import admin
from django.urls import include, path
from machina import urls as machina_urls

urlpatterns = [
    path("", include("core.files")),
    path("admin/", admin.site.urls),
    path("accounts/", include("django.contrib.auth.urls")),
    path("", include(machina_urls)),
]
