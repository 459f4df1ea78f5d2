"""The table of books."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Book",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("isbn", models.CharField(max_length=13, unique=True)),
                ("title", models.CharField(max_length=200)),
                ("subjects", ArrayField(models.CharField(max_length=40), default=list)),
                ("added", models.DateTimeField(auto_now_add=True)),
            ],
            options={"ordering": ("title",)},
        ),
    )
