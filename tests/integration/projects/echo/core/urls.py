"""The addresses of the project."""

from django.urls import path, re_path

from core import views

urlpatterns = [
    path("stream", views.stream),
    path("endless", views.endless),
    re_path("", views.echo),
]
