"""A shop with an empty shelf teaches little: the first teas come with it.

A data migration asks `apps` for its models. What it gets has the fields of this moment in the
project's history, whatever models.py says by the time the migration runs.
"""

from decimal import Decimal

from django.db import migrations

TEAS = (
    {
        "name": "Assam Nahor",
        "slug": "assam-nahor",
        "origin": "Assam, India",
        "description": "Malt, dark honey and enough strength for the first cup of a grey day. "
        "Takes milk well.",
        "price": Decimal("9.50"),
        "stock": 40,
        "colour": "#8f3a16",
        "temperature": 100,
        "minutes": 4,
    },
    {
        "name": "Darjeeling Second Flush",
        "slug": "darjeeling-second-flush",
        "origin": "Darjeeling, India",
        "description": "Picked in June, when the leaves taste of muscat grapes and warm wood. "
        "The afternoon tea among teas.",
        "price": Decimal("14.00"),
        "stock": 24,
        "colour": "#c8752c",
        "temperature": 95,
        "minutes": 3,
    },
    {
        "name": "Dragon Well",
        "slug": "dragon-well",
        "origin": "Hangzhou, China",
        "description": "Flat leaves, dried by hand in a hot pan. Chestnut, butter and a sweet end. "
        "Good for three infusions.",
        "price": Decimal("18.50"),
        "stock": 12,
        "colour": "#c9b458",
        "temperature": 80,
        "minutes": 2,
    },
    {
        "name": "Hibiscus Bloom",
        "slug": "hibiscus-bloom",
        "origin": "Aswan, Egypt",
        "description": "Whole blossoms, tart as redcurrants and free of caffeine. "
        "Hot in winter, over ice in July.",
        "price": Decimal("6.80"),
        "stock": 60,
        "colour": "#b3214d",
        "temperature": 100,
        "minutes": 7,
    },
    {
        "name": "Lapsang Souchong",
        "slug": "lapsang-souchong",
        "origin": "Wuyi, China",
        "description": "Dried over pine fires. Some smell a campfire, some a whisky; "
        "nobody forgets it.",
        "price": Decimal("12.00"),
        "stock": 3,
        "colour": "#5e2a17",
        "temperature": 95,
        "minutes": 4,
    },
    {
        "name": "Sencha Uji",
        "slug": "sencha-uji",
        "origin": "Kyoto, Japan",
        "description": "Steamed green leaves: fresh grass, sea air, and a bitterness that only "
        "hurried drinkers meet.",
        "price": Decimal("15.20"),
        "stock": 30,
        "colour": "#9aab3c",
        "temperature": 70,
        "minutes": 1,
    },
)


def fill_the_shelf(apps, schema_editor):
    Product = apps.get_model("website", "Product")
    products = Product.objects.using(schema_editor.connection.alias)
    products.bulk_create(Product(**tea) for tea in TEAS)


class Migration(migrations.Migration):
    dependencies = (("website", "0001_initial"),)

    # Going back drops the table, and the teas with it: nothing to undo.
    operations = (migrations.RunPython(fill_the_shelf, migrations.RunPython.noop),)
