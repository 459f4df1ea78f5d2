"""What a visitor of the shop sees and does."""

from decimal import Decimal

from django.contrib.sessions.models import Session
from django.test import Client, TestCase
from django.urls import reverse

from ..models import Order, OutOfStock, Product
from ..session import Basket, Line
from ..templatetags.display import euros

ADDRESS = {"name": "Ada", "email": "ada@shop.example", "address": "1 Byron Row\nLondon"}


class ShopTestCase(TestCase):
    """A shelf with two teas, neither of them from the migration."""

    @classmethod
    def setUpTestData(cls):
        Product.objects.all().delete()
        brewing = {"colour": "#c8752c", "temperature": 80, "minutes": 2, "origin": "Somewhere"}
        cls.green = Product.objects.create(
            name="Green", slug="green", price=Decimal("8.50"), stock=5, **brewing
        )
        cls.black = Product.objects.create(
            name="Black", slug="black", price=Decimal("7.25"), stock=30, **brewing
        )

    def put(self, product: Product, quantity: object, **extra: str):
        url = reverse("put_in_basket", args=[product.slug])
        return self.client.post(url, {"quantity": quantity, **extra}, follow=True)

    def basket(self) -> dict[str, int]:
        lines = self.client.get(reverse("basket")).context["basket"].lines
        return {line.product.name: line.quantity for line in lines}


class MigrationTests(TestCase):
    def test_a_new_shop_has_teas_that_are_valid(self):
        self.assertEqual(Product.objects.count(), 6)
        for product in Product.objects.all():
            product.full_clean()


class CatalogueTests(ShopTestCase):
    def test_every_tea_is_listed_with_its_price(self):
        response = self.client.get("/")
        for text in ("Green", "€8.50", "Black", "€7.25"):
            self.assertContains(response, text)

    def test_scarce_and_sold_out_teas_say_so(self):
        self.assertContains(self.client.get("/"), "Only 5 left")
        Product.objects.update(stock=0)
        self.assertContains(self.client.get("/"), "Sold out", count=2)
        page = self.client.get(self.green.get_absolute_url())
        self.assertNotContains(page, "Put in the basket")

    def test_an_unknown_tea_is_not_found(self):
        self.assertContains(self.client.get("/tea/grog/"), "no such page", status_code=404)

    def test_amounts_have_cents_and_groups(self):
        self.assertEqual(euros(Decimal("1250")), "€1,250.00")

    def test_the_footer_says_who_answered(self):
        self.assertContains(self.client.get("/"), "shop · Django ")


class BasketTests(ShopTestCase):
    def test_who_only_looks_gets_no_session(self):
        self.assertContains(self.client.get(reverse("basket")), "Nothing in it yet.")
        self.assertFalse(Session.objects.exists())

    def test_tins_are_added_up(self):
        self.put(self.green, 1)
        self.assertContains(self.put(self.green, 2), "Green: 3 in your basket.")
        self.put(self.black, 1)
        self.assertEqual(self.basket(), {"Black": 1, "Green": 3})
        self.assertContains(self.client.get(reverse("basket")), "€32.75")

    def test_a_number_is_set_or_set_to_none(self):
        self.put(self.green, 1)
        self.put(self.green, 4, exactly="")
        self.assertEqual(self.basket(), {"Green": 4})
        self.assertContains(self.put(self.green, 0, exactly=""), "Green is out of your basket.")
        self.assertEqual(self.basket(), {})

    def test_never_more_than_there_are_or_than_we_send(self):
        self.put(self.black, Basket.MOST_TINS)
        self.assertContains(self.put(self.black, 1), f"we can send you {Basket.MOST_TINS} at most")
        self.assertContains(self.put(self.green, 6), "we can send you 5 at most")
        self.assertEqual(self.basket(), {"Black": Basket.MOST_TINS, "Green": 5})

    def test_nonsense_is_no_number(self):
        for quantity in ("", "x", "-1", "1e9", Basket.MOST_TINS + 1):
            with self.subTest(quantity):
                self.assertContains(self.put(self.green, quantity), "How many?")
        self.assertEqual(self.basket(), {})

    def test_baskets_are_not_shared(self):
        self.put(self.green, 1)
        self.client = Client()
        self.assertEqual(self.basket(), {})

    def test_a_tea_that_left_the_catalogue_leaves_the_basket(self):
        self.put(self.green, 1)
        self.put(self.black, 1)
        self.green.delete()
        self.assertEqual(self.basket(), {"Black": 1})

    def test_a_post_without_the_forms_token_is_refused(self):
        self.client = Client(enforce_csrf_checks=True)
        self.assertEqual(self.put(self.green, 1).status_code, 403)
        self.client.get(self.green.get_absolute_url())
        token = self.client.cookies["csrftoken"].value
        self.assertEqual(self.put(self.green, 1, csrfmiddlewaretoken=token).status_code, 200)


class OrderTests(ShopTestCase):
    def order(self, **change: str):
        return self.client.post(reverse("order"), ADDRESS | change, follow=True)

    def test_an_order_is_kept_and_thanked_for(self):
        self.put(self.green, 2)
        self.put(self.black, 1)
        response = self.order()
        self.assertRedirects(response, reverse("thanks"))
        self.assertContains(response, "Thank you, Ada")
        self.assertContains(response, "€24.25")
        self.assertEqual(Order.objects.get().total, Decimal("24.25"))

    def test_an_order_empties_the_basket_and_the_shelf(self):
        self.put(self.green, 2)
        self.order()
        self.assertEqual(self.basket(), {})
        self.green.refresh_from_db()
        self.assertEqual(self.green.stock, 3)

    def test_sent_twice_it_is_one_order(self):
        self.put(self.green, 1)
        self.order()
        self.assertRedirects(self.order(), reverse("basket"))
        self.assertEqual(Order.objects.count(), 1)

    def test_an_order_keeps_the_price_it_was_placed_at(self):
        self.put(self.green, 2)
        self.order()
        Product.objects.update(price=99)
        self.assertEqual(Order.objects.get().total, Decimal("17.00"))

    def test_a_faulty_order_is_not_placed_and_says_why(self):
        self.put(self.green, 1)
        self.assertContains(self.order(name=""), "This field is required.")
        self.assertContains(self.order(email="ada"), "valid email address")
        self.assertFalse(Order.objects.exists())

    def test_an_empty_basket_cannot_be_ordered(self):
        self.assertRedirects(self.client.get(reverse("order")), reverse("basket"))

    def test_who_comes_too_late_is_asked_again(self):
        self.put(self.green, 4)
        Product.objects.filter(pk=self.green.pk).update(stock=1)
        response = self.order()
        self.assertRedirects(response, reverse("basket"))
        self.assertContains(response, "Green: only 1 left by now.")
        self.assertEqual(self.basket(), {"Green": 1})
        self.assertFalse(Order.objects.exists())

    def test_an_order_is_placed_as_a_whole_or_not_at_all(self):
        lines = [Line(self.black, 1), Line(self.green, 6)]
        with self.assertRaises(OutOfStock):
            Order(**ADDRESS).place(lines)
        self.black.refresh_from_db()
        self.assertEqual(self.black.stock, 30)
        self.assertFalse(Order.objects.exists())

    def test_thanks_are_for_the_customer_alone(self):
        self.put(self.green, 1)
        self.order()
        self.client = Client()
        self.assertEqual(self.client.get(reverse("thanks")).status_code, 404)
