"""Pages about data: hints, caches, database."""

import inspect
import typing

from django.apps import apps
from django.core.cache import caches
from django.db import connection
from django.http import HttpRequest, JsonResponse

from shop import items
from shop.answers import answer
from shop.items import Colour, Item, describe
from shop.models import Product


def show_hints(request: HttpRequest) -> JsonResponse:
    """Annotations that are strings become the classes of this project."""
    assert items.field_names() == ["name", "colour", "size", "maker"]
    hints = typing.get_type_hints(Item)
    assert hints["colour"] is Colour
    signature = inspect.signature(Item, eval_str=True)
    assert signature.parameters["colour"].annotation is Colour
    return answer(
        hints["colour"].OWN.value,
        inspect.getmodule(Item).MARKER,
        describe(Item("tea", Colour.OWN)),
        Item("tea", Colour.OWN).size.maker,
    )


def go_through_cache(request: HttpRequest, alias: str) -> JsonResponse:
    """Objects come back from a cache as what they were, under keys that both projects use."""
    cache = caches[alias]
    product = Product(name="tea", maker=items.MARKER)
    cache.set("product", product)
    cache.set("item", Item("tea", Colour.OWN))
    cached_product, item = cache.get("product"), cache.get("item")
    assert type(cached_product) is Product
    assert type(item) is Item
    assert item.colour is Colour.OWN
    return answer(cached_product.maker, item.maker, item.colour.value, *cache.get("seen", []))


def store(request: HttpRequest) -> JsonResponse:
    """A row more, in the database of this site."""
    product = apps.get_model("shop", "Product").objects.create(name="tea", maker=items.MARKER)
    assert type(product) is Product
    makers = Product.objects.values_list("maker", flat=True).distinct()
    folder = str(connection.settings_dict["NAME"]).split("/")[-2]
    return answer(folder, *makers)


def validate(request: HttpRequest) -> JsonResponse:
    """A library that the gateway uses, too; it is partly compiled, so there is only one of it."""
    from shop.forms import Order

    order = Order.model_validate({"colour": items.MARKER, "lines": [{"maker": items.MARKER}]})
    assert order.colour is Colour.OWN
    return answer(order.colour.value, order.lines[0].maker, order.lines[0].default)
