"""Every address of the guestbook."""

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    # Django hands out static files only while DEBUG is on and leaves them to the web server
    # otherwise. These are a style sheet and an icon, so Django may serve them itself: one thing
    # less to set up. `insecure` means "also without DEBUG"; it finds the files of installed apps
    # and nothing else. It is slow, so a site with traffic gives them to its web server instead.
    path("static/<path:path>", serve, {"insecure": True}),
    path("", include("website.urls")),
]
