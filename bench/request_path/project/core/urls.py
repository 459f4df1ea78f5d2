"""One URL for each kind of work."""

from django.urls import path
from things import views

urlpatterns = [
    path("tiny/", views.tiny),
    path("orm/", views.orm),
    path("template/", views.template),
    path("stream/<int:chunks>/", views.stream),
    path("sleep/<int:milliseconds>/", views.sleep),
    path("burn/", views.burn),
    path("burn-sleep-burn/", views.burn_sleep_burn),
    path("upload/", views.upload),
    path("counts/", views.counts),
]
