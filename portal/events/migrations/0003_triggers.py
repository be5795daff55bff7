from django.db import migrations

from portal.events import triggers


class Migration(migrations.Migration):
    """By itself: PostgreSQL alters no table whose rows were touched in the same transaction."""

    dependencies = [("events", "0002_append_only")]

    operations = [migrations.RunPython(triggers.install, triggers.remove)]
