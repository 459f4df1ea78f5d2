"""The addresses of the project."""

from django.urls import path, re_path

from core import views

urlpatterns = [path("stream", views.stream), re_path("", views.echo)]
