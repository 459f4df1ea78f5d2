"""Products with pictures in two categories, reviews, an order and a voucher."""

from decimal import Decimal

import django

django.setup()

from core.pictures import picture  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from oscar.apps.catalogue.categories import create_from_breadcrumbs  # noqa: E402
from oscar.core.loading import get_model  # noqa: E402
from oscar.test.factories import create_order, create_product, create_voucher  # noqa: E402

editor = get_user_model().objects.get()
Country = get_model("address", "Country")
Country.objects.create(
    iso_3166_1_a2="DE", iso_3166_1_a3="DEU", name="Germany", printable_name="Germany"
)
for name, colours in {"Chairs > Wood": ("maroon", "teal"), "Lamps > Paper": ("gold",)}.items():
    category = create_from_breadcrumbs(name)
    for colour in colours:
        product = create_product(
            title=f"{name.split()[0]} in {colour}",
            upc=colour,
            price=Decimal("19.90"),
            partner_name="Wörk & Söhne",
            num_in_stock=12,
        )
        product.categories.add(category)
        product.images.create(original=picture(f"{colour}.jpg", colour))
        product.reviews.create(user=editor, score=4, title="Solid", body="Holds.", status=1)
create_order(number="1001", user=editor)
create_voucher(code="WELCOME")
