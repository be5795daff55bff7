"""Where hosts keep volumes, and what tenants are promised of them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from hosts.driver.types import DiskLimits, PoolSpec
from hosts.driver.types import PoolKind as Kind
from hosts.models.host import Host
from portal.core.models import Row
from portal.core.units import GIB

MIB = 1024**2


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

    @property
    def limits(self) -> DiskLimits:
        """What each disk of this class is held to."""
        return DiskLimits(
            read_iops=self.read_iops,
            write_iops=self.write_iops,
            read_bytes=self.read_mib_s and self.read_mib_s * MIB,
            write_bytes=self.write_mib_s and self.write_mib_s * MIB,
        )


# Disks are qcow2 files, for which a file system is needed: libvirt makes none in volume groups and Ceph pools.
FILE_KINDS = frozenset({"dir", "netfs"})


class PoolKind(models.TextChoices):
    """As libvirt calls them: https://libvirt.org/storage.html"""

    DIR = "dir", "Directory"
    NETFS = "netfs", "Network file system"
    LOGICAL = "logical", "LVM volume group"
    RBD = "rbd", "Ceph RBD"


class StoragePool(Row):
    """A libvirt storage pool of one host. The default one has the seeds, and the disks that name no other.

    `source` is what its kind needs beside a path: source, hosts, user, secret, as in hosts.driver.types.PoolSpec. Sizes
    and `error`, why the host could not have it, are observed, and so is `storage_id`: what the token file in it says,
    the same on all hosts that see the same storage ("" where none could be read).
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
    error = models.CharField(max_length=300, blank=True)
    storage_id = models.CharField(max_length=32, blank=True)

    class Meta:
        ordering = ["-is_default", "name"]
        constraints = [
            models.UniqueConstraint(fields=["host", "name"], name="one_pool_per_host_and_name"),
            models.UniqueConstraint(fields=["host"], condition=Q(is_default=True), name="one_default_pool_per_host"),
        ]
        indexes = [models.Index(fields=["storage_id"], name="pool_by_storage")]

    def __str__(self) -> str:
        return self.name

    @property
    def takes_disks(self) -> bool:
        return self.kind in FILE_KINDS

    @property
    def is_ready(self) -> bool:
        """The host had it when it was last looked at."""
        return self.checked_at is not None and not self.error

    @property
    def capacity_gib(self) -> int:
        return self.capacity_bytes // GIB

    @property
    def spec(self) -> PoolSpec:
        """As the driver defines it."""
        given = {**self.source, "hosts": tuple(self.source.get("hosts", ()))}
        return PoolSpec(name=self.name, kind=Kind(self.kind), path=self.path, **given)
