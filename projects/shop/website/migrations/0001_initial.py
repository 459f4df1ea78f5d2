from decimal import Decimal

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = ()

    operations = (
        migrations.CreateModel(
            name="Product",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=60, unique=True)),
                (
                    "slug",
                    models.SlugField(
                        help_text="Its part of the address.", max_length=60, unique=True
                    ),
                ),
                ("origin", models.CharField(max_length=80)),
                ("description", models.TextField(max_length=600)),
                (
                    "price",
                    models.DecimalField(
                        decimal_places=2,
                        help_text="For a tin, in euros.",
                        max_digits=6,
                        validators=[django.core.validators.MinValueValidator(Decimal("0.01"))],
                    ),
                ),
                ("stock", models.PositiveIntegerField(default=0, help_text="Tins left.")),
                (
                    "colour",
                    models.CharField(
                        help_text="Of the tea in the cup, such as #c8752c.",
                        max_length=7,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A#[0-9a-f]{6}\\Z", "Write it as #c8752c."
                            )
                        ],
                    ),
                ),
                (
                    "temperature",
                    models.PositiveSmallIntegerField(help_text="Of the water, in degrees Celsius."),
                ),
                (
                    "minutes",
                    models.PositiveSmallIntegerField(help_text="For which it steeps."),
                ),
            ],
            options={"ordering": ("name",)},
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                ("email", models.EmailField(max_length=254, verbose_name="e-mail")),
                ("address", models.TextField(max_length=400)),
                (
                    "placed_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("is_sent", models.BooleanField(default=False, verbose_name="sent")),
            ],
            options={"ordering": ("-placed_at", "-pk")},
        ),
        migrations.CreateModel(
            name="OrderLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("quantity", models.PositiveIntegerField()),
                ("price", models.DecimalField(decimal_places=2, max_digits=6)),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="lines",
                        to="website.order",
                    ),
                ),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="website.product",
                    ),
                ),
            ],
        ),
    )
