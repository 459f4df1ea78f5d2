from django.urls import path

from . import views

urlpatterns = [
    path("", views.show_catalogue, name="catalogue"),
    path("tea/<slug:slug>/", views.show_product, name="product"),
    path("basket/", views.show_basket, name="basket"),
    path("basket/<slug:slug>/", views.put_in_basket, name="put_in_basket"),
    path("order/", views.check_out, name="order"),
    path("order/thanks/", views.show_thanks, name="thanks"),
]
