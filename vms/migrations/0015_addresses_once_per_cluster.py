"""Hosts of one network that gave the same address to two machines cannot be one cluster: the later host has its own."""

from django.db import migrations


def part_hosts(apps, schema_editor):
    Cluster, Host = apps.get_model("hosts", "Cluster"), apps.get_model("hosts", "Host")
    Nic = apps.get_model("vms", "Nic")
    taken = {}
    for host in Host.objects.order_by("created_at", "id"):
        own = set(Nic.objects.filter(host=host).values_list("ip", flat=True))
        if own & taken.get(host.cluster_id, set()):
            host.cluster = Cluster.objects.create(
                id=host.pk, slug=host.name, name=host.name, network_cidr=host.network_cidr
            )
            host.save(update_fields=["cluster"])
        taken.setdefault(host.cluster_id, set()).update(own)
        Nic.objects.filter(host=host).update(cluster=host.cluster)


class Migration(migrations.Migration):
    dependencies = [("vms", "0014_nics_of_clusters"), ("hosts", "0009_each_host_in_a_cluster")]
    operations = [migrations.RunPython(part_hosts, migrations.RunPython.noop)]
