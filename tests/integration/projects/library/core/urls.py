"""The addresses of the library."""

from books.views import BookViewSet
from django.urls import include, path
from rest_framework.routers import DefaultRouter

from core.facts import facts

router = DefaultRouter()
router.register("books", BookViewSet)

urlpatterns = [path("facts/", facts), path("", include(router.urls))]
