from django.db import migrations

from portal.events import triggers


class Migration(migrations.Migration):
    dependencies = [("events", "0003_triggers")]

    operations = [migrations.RunPython(triggers.install, migrations.RunPython.noop)]
