"""The pools of hosts."""

from __future__ import annotations

from hosts.models import Host, StorageClass, StoragePool


def add_default_pool(host: Host) -> StoragePool:
    """The directory pool that each host has from the beginning, of the class that is chosen where none is named."""
    return StoragePool.objects.create(
        host=host, storage_class=_default_class(), name=host.pool_name, path=host.pool_path, is_default=True
    )


def _default_class() -> StorageClass:
    standard = {"slug": "standard", "name": "Standard", "description": "On the host's own disks, without limits."}
    return StorageClass.objects.get_or_create(is_default=True, defaults=standard)[0]
