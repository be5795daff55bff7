from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("vms", "0006_disks_become_volumes")]
    operations = [migrations.DeleteModel(name="Disk")]
