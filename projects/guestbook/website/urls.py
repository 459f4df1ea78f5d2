from django.urls import path

from . import views

urlpatterns = [
    path("", views.book, name="book"),
    path("forget/", views.forget, name="forget"),
]
