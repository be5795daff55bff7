"""Each host that is there already has one pool, which becomes a row."""

from django.db import migrations


def add_pools(apps, schema_editor):
    Host, StorageClass, StoragePool = (apps.get_model("hosts", name) for name in ("Host", "StorageClass", "StoragePool"))
    standard = {"slug": "standard", "name": "Standard", "description": "On the host's own disks, without limits."}
    for host in Host.objects.all():
        storage_class, _ = StorageClass.objects.get_or_create(is_default=True, defaults=standard)
        seen = next((pool for pool in host.pools if pool["name"] == host.pool_name), {})
        StoragePool.objects.create(
            host=host,
            storage_class=storage_class,
            name=host.pool_name,
            path=host.pool_path,
            is_default=True,
            capacity_bytes=seen.get("capacity_bytes", 0),
            available_bytes=seen.get("available_bytes", 0),
            checked_at=host.checked_at,
        )


class Migration(migrations.Migration):
    dependencies = [("hosts", "0003_storage_pools")]
    operations = [migrations.RunPython(add_pools, migrations.RunPython.noop)]
