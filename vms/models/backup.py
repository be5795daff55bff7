"""Backups: copies of all disks of a machine as of one instant, which outlive it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from hosts.models import BackupTarget
from portal.billing.metered import Metered, MeteredTenantQuerySet
from portal.core.models import Row
from portal.core.units import GIB_IN_MIB
from portal.tenancy.models import TenantOwned
from vms.models.catalogue import Flavor, Image
from vms.models.vm import VM


class BackupKind(models.TextChoices):
    """INCREMENTAL has what changed since its parent, and needs it."""

    FULL = "full"
    INCREMENTAL = "incremental"


class BackupState(models.TextChoices):
    RUNNING = "running"
    READY = "ready"


class BackupQuerySet(MeteredTenantQuerySet["Backup"]):  # type: ignore[override]  # of as_manager
    """By both guards."""


class Backup(Metered, TenantOwned):
    """One backup. `source_id` and `vm_name` are those of its machine, also when that is gone.

    `why_full` says why it is no incremental one although there was one to stand on. `consistency`: see
    hosts.driver.types.Consistency; "" until it has begun. `size_mib` is what it takes of the quota: all that it may
    become while it is made, then what its files are. `bytes_read` is what was read of the machine's disks.
    `counts_changes`: the next one can stand on it. `damage` is what the last verification found wrong, "" for nothing.
    `machine` is what a new machine needs beside the disks.
    """

    vm = models.ForeignKey(VM, null=True, on_delete=models.SET_NULL, related_name="backups")
    source_id = models.UUIDField(db_index=True)
    vm_name = models.CharField(max_length=63)
    target = models.ForeignKey(BackupTarget, on_delete=models.PROTECT, related_name="backups")
    parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="children")
    kind = models.CharField(max_length=12, choices=BackupKind.choices)
    state = models.CharField(max_length=10, choices=BackupState.choices, default=BackupState.RUNNING)
    why_full = models.CharField(max_length=200, blank=True)
    consistency = models.CharField(max_length=10, blank=True)
    counts_changes = models.BooleanField(default=False)
    size_mib = models.PositiveIntegerField()
    bytes_read = models.PositiveBigIntegerField(default=0)
    taken_at = models.DateTimeField(null=True)
    verified_at = models.DateTimeField(null=True)
    damage = models.CharField(max_length=300, blank=True)
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    flavor = models.ForeignKey(Flavor, on_delete=models.PROTECT, related_name="+")
    machine = models.JSONField(default=dict)
    created_by = models.CharField(max_length=150)

    objects = BackupQuerySet.as_manager()

    METERED = frozenset({"state", "size_mib", "tenant"})

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="full", parent=None) | Q(kind="incremental", parent__isnull=False),
                name="an_incremental_backup_has_a_parent",
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="backup_by_tenant"),
            models.Index(fields=["source_id", "target", "state"], name="backup_by_source"),
        ]

    def __str__(self) -> str:
        return f"backup of {self.vm_name}"

    @property
    def checkpoint(self) -> str:
        """On the host, from which changes since this backup are counted."""
        return str(self.pk)

    @property
    def wanted(self) -> dict[str, int]:
        return {"backup_mib": self.size_mib}


class BackupDisk(Row):
    """A file of a backup, named by its id: one disk, or what changed on it since `parent`, on which it stands.

    `volume_id`, `target`, `name` and `size_gib` are those of the volume then. `sha256` is of the file.
    """

    backup = models.ForeignKey(Backup, on_delete=models.CASCADE, related_name="disks")
    parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="children")
    volume_id = models.UUIDField()
    name = models.CharField(max_length=63)
    target = models.CharField(max_length=8)
    is_boot = models.BooleanField(default=False)
    size_gib = models.PositiveIntegerField()
    size_bytes = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["target"]
        constraints = [models.UniqueConstraint(fields=["backup", "target"], name="one_file_per_backup_and_target")]

    @property
    def file_name(self) -> str:
        return f"{self.pk}.qcow2"


def most_mib(size_gib: int) -> int:
    """What a disk's backup can take at most; its tables are paid for by what is free in it, or in the next MiB."""
    return size_gib * GIB_IN_MIB + 1
