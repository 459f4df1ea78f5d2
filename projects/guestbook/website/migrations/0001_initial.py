import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = ()

    operations = (
        migrations.CreateModel(
            name="Entry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=60)),
                ("message", models.TextField(max_length=1000)),
                (
                    "written_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "is_hidden",
                    models.BooleanField(
                        default=False,
                        help_text="A hidden entry is kept, and shown to nobody but the staff.",
                        verbose_name="hidden",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "entries",
                "ordering": ("-written_at", "-pk"),
                "indexes": [models.Index(fields=["-written_at", "-id"], name="entry_newest_first")],
            },
        ),
    )
