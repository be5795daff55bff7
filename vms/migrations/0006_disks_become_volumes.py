"""What was a disk is a volume with one layer, both under its id, so files and serial numbers on hosts stay as they are."""

from django.db import migrations


def convert(apps, schema_editor):
    Disk, Layer, Volume = (apps.get_model("vms", name) for name in ("Disk", "Layer", "Volume"))
    StoragePool = apps.get_model("hosts", "StoragePool")
    Operation = apps.get_model("operations", "Operation")
    pools = {pool.host_id: pool for pool in StoragePool.objects.filter(is_default=True)}
    copies = set(Operation.objects.filter(kind="vm.clone").values_list("target_id", flat=True))
    for disk in Disk.objects.select_related("vm"):
        image_id = None if disk.vm_id in copies else disk.vm.image_id
        layer = Layer.objects.create(
            pk=disk.pk, pool=pools[disk.vm.host_id], image_id=image_id, size_gib=disk.size_gib
        )
        Volume.objects.create(
            pk=disk.pk,
            tenant_id=disk.vm.tenant_id,
            vm=disk.vm,
            layer=layer,
            name="boot",
            size_gib=disk.size_gib,
            target=disk.target,
            is_boot=True,
        )


class Migration(migrations.Migration):
    dependencies = [
        ("vms", "0005_volumes"),
        ("hosts", "0004_default_pools"),
        ("operations", "0005_holds"),
    ]
    operations = [migrations.RunPython(convert, migrations.RunPython.noop)]
