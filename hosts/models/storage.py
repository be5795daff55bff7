"""Where hosts keep volumes, and what tenants are promised of them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from hosts.models.host import Host
from portal.core.models import Row


class StorageClass(Row):
    """What a tenant chooses: a kind of storage with its limits for each disk; null is no limit."""

    slug = models.CharField(max_length=63, unique=True)
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=300, blank=True)
    read_iops = models.PositiveIntegerField(null=True)
    write_iops = models.PositiveIntegerField(null=True)
    read_mib_s = models.PositiveIntegerField(null=True)
    write_mib_s = models.PositiveIntegerField(null=True)
    is_default = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="one_default_class")
        ]

    def __str__(self) -> str:
        return self.name


class PoolKind(models.TextChoices):
    """As libvirt calls them: https://libvirt.org/storage.html"""

    DIR = "dir", "Directory"
    NETFS = "netfs", "Network file system"
    LOGICAL = "logical", "LVM volume group"
    RBD = "rbd", "Ceph RBD"


class StoragePool(Row):
    """A libvirt storage pool of one host. The default one has the seeds, and the disks that name no other.

    `source` is what its kind needs beside a path: server and export, volume group, monitors. Sizes are observed.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="storage_pools")
    storage_class = models.ForeignKey(StorageClass, on_delete=models.PROTECT, related_name="pools")
    name = models.CharField(max_length=63)
    kind = models.CharField(max_length=10, choices=PoolKind.choices, default=PoolKind.DIR)
    path = models.CharField(max_length=300)
    source = models.JSONField(default=dict)
    is_default = models.BooleanField(default=False)
    capacity_bytes = models.PositiveBigIntegerField(default=0)
    available_bytes = models.PositiveBigIntegerField(default=0)
    checked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-is_default", "name"]
        constraints = [
            models.UniqueConstraint(fields=["host", "name"], name="one_pool_per_host_and_name"),
            models.UniqueConstraint(fields=["host"], condition=Q(is_default=True), name="one_default_pool_per_host"),
        ]

    def __str__(self) -> str:
        return self.name
