"""What the staff can do in the admin, and who is staff."""

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ..models import Order, Product
from ..session import Line

ORDERS = reverse("admin:website_order_changelist")


class CounterTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.orders = [cls.order("Ada"), cls.order("Bob")]

    @staticmethod
    def order(name: str) -> Order:
        order = Order(name=name, email="customer@shop.example", address="Here")
        order.place([Line(Product.objects.get(slug="sencha-uji"), 2)])
        return order

    def sign_in(self) -> None:
        self.client.force_login(User.objects.create_superuser("staff"))

    def test_strangers_are_asked_to_sign_in(self):
        response = self.client.get(ORDERS)
        self.assertRedirects(response, f"{reverse('admin:login')}?next={ORDERS}")

    def test_orders_are_listed_with_their_total_and_found_by_name(self):
        self.sign_in()
        response = self.client.get(ORDERS, {"q": "ada"})
        self.assertContains(response, "€30.40", count=1)
        self.assertNotContains(response, "Bob")

    def test_more_orders_cost_no_more_queries(self):
        self.sign_in()
        with CaptureQueriesContext(connection) as some:
            self.client.get(ORDERS)
        self.order("Cleo")
        with self.assertNumQueries(len(some)):
            self.client.get(ORDERS)

    def test_an_order_shows_its_lines(self):
        self.sign_in()
        url = reverse("admin:website_order_change", args=[self.orders[0].pk])
        self.assertContains(self.client.get(url), "Sencha Uji")

    def test_orders_are_marked_as_sent(self):
        self.sign_in()
        data = {"action": "mark_as_sent", "_selected_action": [self.orders[0].pk]}
        response = self.client.post(ORDERS, data, follow=True)
        self.assertContains(response, "1 order is marked as sent.")
        self.assertEqual(list(Order.objects.filter(is_sent=True)), self.orders[:1])

    def test_a_colour_that_is_none_is_refused(self):
        product = Product.objects.get(slug="sencha-uji")
        product.colour = "red;}"
        with self.assertRaises(ValidationError):
            product.full_clean()
