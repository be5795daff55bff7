from __future__ import annotations

from collections import defaultdict

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def by_reason(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """{"capacity": {"host": "2 vCPUs short"}} becomes {"capacity": {"2 vCPUs short": ["host"]}}."""
    Placement = apps.get_model("hosts", "Placement")
    for row in Placement.objects.only("refused").iterator(chunk_size=500):
        row.refused = {constraint: _grouped(hosts) for constraint, hosts in row.refused.items()}
        row.save(update_fields=["refused"])


def by_host(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    Placement = apps.get_model("hosts", "Placement")
    for row in Placement.objects.only("refused").iterator(chunk_size=500):
        row.refused = {
            constraint: {name: words for words, names in reasons.items() for name in names}
            for constraint, reasons in row.refused.items()
        }
        row.save(update_fields=["refused"])


def _grouped(hosts: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, words in hosts.items():
        found[words].append(name)
    return dict(found)


class Migration(migrations.Migration):
    dependencies = [("hosts", "0018_eager_failover")]
    operations = [migrations.RunPython(by_reason, by_host)]
