"""How the staff look after the shelf and the orders."""

from typing import ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import ngettext

from .models import Order, OrderLine, Product
from .templatetags.display import euros

admin.site.site_header = "Tea shop"
admin.site.site_title = "Tea shop"
admin.site.index_title = "Behind the counter"


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ("name", "origin", "price", "stock")
    # Prices and stock change most, so they can be edited right in the list.
    list_editable = ("price", "stock")
    search_fields = ("name", "origin", "description")
    prepopulated_fields: ClassVar = {"slug": ("name",)}


class OrderLineInline(admin.TabularInline):
    model = OrderLine
    fields = readonly_fields = ("product", "quantity", "price", "line_total")
    extra = 0
    can_delete = False

    @admin.display(description="total")
    def line_total(self, line: OrderLine) -> str:
        return euros(line.total)

    def has_add_permission(self, request: HttpRequest, obj: Order | None) -> bool:
        return False


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ("__str__", "name", "placed_at", "order_total", "is_sent")
    list_filter = ("is_sent", "placed_at")
    search_fields = ("name", "email", "address")
    date_hierarchy = "placed_at"
    readonly_fields = ("placed_at", "order_total")
    inlines = (OrderLineInline,)
    actions = ("mark_as_sent",)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # The total of each order needs its lines: two queries for the list, not one for each row.
        return super().get_queryset(request).prefetch_related("lines")

    # Orders come from customers.
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description="total")
    def order_total(self, order: Order) -> str:
        return euros(order.total)

    @admin.action(description="Mark the selected orders as sent", permissions=["change"])
    def mark_as_sent(self, request: HttpRequest, orders: QuerySet) -> None:
        count = orders.update(is_sent=True)
        text = ngettext("%d order is marked as sent.", "%d orders are marked as sent.", count)
        self.message_user(request, text % count, messages.SUCCESS)
