"""What a visitor of the shop can fill in."""

from typing import ClassVar

from django import forms

from .models import Order
from .session import Basket


class QuantityForm(forms.Form):
    """How many tins of one tea the basket should hold, or gain."""

    quantity = forms.IntegerField(min_value=0, max_value=Basket.MOST_TINS)


class OrderForm(forms.ModelForm):
    class Meta:
        model = Order
        fields = ("name", "email", "address")
        labels: ClassVar = {"name": "Name", "email": "E-mail", "address": "Address"}
        help_texts: ClassVar = {"email": "For questions about this order, and nothing else."}
        widgets: ClassVar = {
            "name": forms.TextInput(attrs={"autocomplete": "name"}),
            "email": forms.EmailInput(attrs={"autocomplete": "email"}),
            "address": forms.Textarea(attrs={"autocomplete": "street-address", "rows": 4}),
        }
