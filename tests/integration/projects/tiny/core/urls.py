"""The addresses of the project."""

from django.urls import path

from core import views

urlpatterns = [path("", views.front), path("_health", views.own_health)]
