"""Hosts with the network of the first one become the cluster `default`; one with another network has one of its own.

A cluster that has machines' addresses takes the id of its first host, from which their MACs were made.
"""

from django.db import migrations


def make_clusters(apps, schema_editor):
    Cluster, Host = apps.get_model("hosts", "Cluster"), apps.get_model("hosts", "Host")
    default = None
    for host in Host.objects.order_by("created_at", "id"):
        if default is None:
            default = Cluster.objects.create(
                id=host.pk, slug="default", name="Default", network_cidr=host.network_cidr
            )
        cluster = default
        if host.network_cidr and not default.network_cidr:
            default.network_cidr = host.network_cidr
            default.save(update_fields=["network_cidr"])
        elif host.network_cidr and host.network_cidr != default.network_cidr:
            cluster = Cluster.objects.create(
                id=host.pk, slug=host.name, name=host.name, network_cidr=host.network_cidr
            )
        host.cluster = cluster
        host.save(update_fields=["cluster"])


class Migration(migrations.Migration):
    dependencies = [("hosts", "0008_clusters")]
    operations = [migrations.RunPython(make_clusters, migrations.RunPython.noop)]
