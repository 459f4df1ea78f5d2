"""Tags that import when they are drawn."""

from django import template

register = template.Library()


@register.simple_tag
def mark() -> str:
    """The name of the project, from a module that nobody has needed before."""
    from shop.late import in_template

    return in_template.MARKER
