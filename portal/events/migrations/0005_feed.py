import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0004_never_replaced"),
        ("tenancy", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="FeedHead",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("sequence", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="FeedEntry",
            fields=[
                (
                    "event",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="feed_entry",
                        serialize=False,
                        to="events.event",
                    ),
                ),
                ("sequence", models.BigIntegerField(null=True, unique=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
            ],
            options={"ordering": ["sequence"]},
        ),
        migrations.AddIndex(
            model_name="feedentry", index=models.Index(fields=["tenant", "sequence"], name="feed_by_tenant")
        ),
        migrations.AddIndex(
            model_name="feedentry",
            index=models.Index(condition=models.Q(("sequence", None)), fields=["event"], name="feed_without_place"),
        ),
    ]
