from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("api", "0001_initial")]

    operations = [
        migrations.RemoveConstraint("keptanswer", "one_answer_per_user_and_key"),
        migrations.RenameField("keptanswer", "narrowed_to", "realm"),
        migrations.AddConstraint(
            "keptanswer",
            models.UniqueConstraint(fields=["user", "realm", "key"], name="one_answer_per_user_and_key"),
        ),
        migrations.AlterField("keptanswer", "location", models.TextField(blank=True)),
    ]
