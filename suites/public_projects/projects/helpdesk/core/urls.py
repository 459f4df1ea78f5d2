"""A help desk and Django's admin."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("core.files")),
    path("admin/", admin.site.urls),
    path("", include("helpdesk.urls")),
]
