"""The pages of the shop."""

import logging

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from .forms import OrderForm, QuantityForm
from .models import Order, OutOfStock, Product
from .session import Basket

logger = logging.getLogger(__name__)


@require_safe
def show_catalogue(request: HttpRequest) -> HttpResponse:
    """All teas."""
    return render(request, "website/catalogue.html", {"products": Product.objects.all()})


@require_safe
def show_product(request: HttpRequest, slug: str) -> HttpResponse:
    """One tea, and a button to buy it."""
    product = get_object_or_404(Product, slug=slug)
    return render(request, "website/product.html", {"product": product})


@require_safe
def show_basket(request: HttpRequest) -> HttpResponse:
    """What the visitor picked so far; a context processor hands it to every template."""
    return render(request, "website/basket.html")


@require_POST
def put_in_basket(request: HttpRequest, slug: str) -> HttpResponse:
    """Put tins of a tea in the basket: so many more, or with `exactly`, so many and no more."""
    product = get_object_or_404(Product, slug=slug)
    exactly = "exactly" in request.POST
    here = redirect("basket") if exactly else redirect(product)

    form = QuantityForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"How many? {form.errors['quantity'][0]}")
        return here

    basket = Basket(request.session)
    wanted = form.cleaned_data["quantity"]
    if not exactly:
        wanted += basket.quantity_of(product)
    got = basket.put(product, wanted)
    if got < wanted:
        messages.warning(request, f"{product}: we can send you {got} at most.")
    elif got:
        messages.success(request, f"{product}: {got} in your basket.")
    else:
        messages.info(request, f"{product} is out of your basket.")
    return here


@require_http_methods(["GET", "HEAD", "POST"])
def check_out(request: HttpRequest) -> HttpResponse:
    """Ask where to send it; then the basket becomes an order."""
    basket = Basket(request.session)
    if not basket.lines:
        return redirect("basket")

    form = OrderForm(request.POST or None)
    if not form.is_valid():
        return render(request, "website/order.html", {"form": form})

    order = form.save(commit=False)
    try:
        order.place(basket.lines)
    except OutOfStock as problem:
        product = Product.objects.get(pk=problem.product.pk)
        got = basket.put(product, basket.quantity_of(product))
        messages.warning(request, f"{product}: only {got} left by now. Do you want the rest?")
        return redirect("basket")
    basket.hand_over(order)
    logger.info("order %d was placed", order.pk)
    return redirect("thanks")


@require_safe
def show_thanks(request: HttpRequest) -> HttpResponse:
    """What was ordered: for the one who did, as their session knows."""
    orders = Order.objects.prefetch_related("lines__product")
    order = get_object_or_404(orders, pk=Basket(request.session).last_order)
    return render(request, "website/thanks.html", {"order": order})
