"""The table, with rows in it."""

from datetime import UTC, datetime
from decimal import Decimal

from django.db import migrations, models

ROWS = 200


def fill(apps, _):
    thing = apps.get_model("things", "Thing")
    thing.objects.bulk_create(
        thing(
            name=f"Thing number {number}",
            price=Decimal(number) / 4,
            stock=number,
            made=datetime(2026, 1, 1, 12, tzinfo=UTC),
        )
        for number in range(ROWS)
    )


class Migration(migrations.Migration):
    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            "Thing",
            (
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("price", models.DecimalField(max_digits=8, decimal_places=2)),
                ("stock", models.IntegerField()),
                ("made", models.DateTimeField()),
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    )
