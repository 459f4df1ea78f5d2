"""How amounts are written."""

from decimal import Decimal

from django import template
from django.utils.formats import number_format

register = template.Library()


@register.filter
def euros(amount: Decimal) -> str:
    """An amount as the language of the page writes it: "€1,250.00"."""
    return "€" + number_format(amount, decimal_pos=2, use_l10n=True, force_grouping=True)
