"""Pages in two languages, files of django-filer, and the admin."""

from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("core.files")),
    path("", include("filer.urls")),
    *i18n_patterns(path("admin/", admin.site.urls), path("", include("cms.urls"))),
]
