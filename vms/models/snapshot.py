"""Snapshots: points of a machine in time to which it can be returned."""

from __future__ import annotations

from django.db import models

from hosts.models import StoragePool
from portal.billing.metered import Metered, MeteredTenantQuerySet
from portal.tenancy.models import TenantOwned
from vms.models.vm import VM, Power
from vms.models.volume import Layer, Volume


class SnapshotState(models.TextChoices):
    """GONE: deleted, while others still stand on its data; kept out of sight until they do not.

    BROKEN: its data is no whole any more: its deletion was begun and could not be ended, or a disk of it was lost with
    its host.
    """

    TAKING = "taking"
    READY = "ready"
    DELETING = "deleting"
    GONE = "gone"
    BROKEN = "broken"


class Consistency(models.TextChoices):
    """What the guest finds when it is returned there.

    OFF: all that it had written. MEMORY: itself, running. FROZEN: file systems that its agent had made whole. CRASH:
    what a loss of power would have left.
    """

    OFF = "off"
    MEMORY = "memory"
    FROZEN = "frozen"
    CRASH = "crash"


class SnapshotQuerySet(MeteredTenantQuerySet["Snapshot"]):  # type: ignore[override]  # of as_manager
    """By both guards."""


class Snapshot(Metered, TenantOwned):
    """`size_gib` is what is kept for it: at most so much at first, what it really takes once it is taken.

    `parent` is the one that the machine stood on when it was taken. `vcpus`, `memory_mib` and `power` are as of then.
    """

    vm = models.ForeignKey(VM, on_delete=models.PROTECT, related_name="snapshots")
    name = models.CharField(max_length=63)
    description = models.CharField(max_length=300, blank=True)
    parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="children")
    state = models.CharField(max_length=10, choices=SnapshotState.choices, default=SnapshotState.TAKING)
    consistency = models.CharField(max_length=10, choices=Consistency.choices, default=Consistency.CRASH)
    power = models.CharField(max_length=10, choices=Power.choices)
    vcpus = models.PositiveIntegerField()
    memory_mib = models.PositiveIntegerField()
    memory_pool = models.ForeignKey(StoragePool, null=True, on_delete=models.PROTECT, related_name="+")
    size_gib = models.PositiveIntegerField()
    is_safety = models.BooleanField(default=False)
    taken_at = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=150)

    objects = SnapshotQuerySet.as_manager()

    METERED = frozenset({"state", "size_gib", "vm", "tenant"})

    class Meta:
        ordering = ["created_at", "id"]
        indexes = [models.Index(fields=["tenant", "-created_at", "-id"], name="snapshot_by_tenant")]
        constraints = [
            models.UniqueConstraint(
                fields=["vm", "name"],
                condition=~models.Q(state=SnapshotState.GONE),
                name="one_snapshot_per_vm_and_name",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def has_memory(self) -> bool:
        return self.memory_pool_id is not None

    @property
    def memory_volume(self) -> str:
        """The file with the guest's memory, where it has one."""
        return f"{self.pk}.memory"

    @property
    def wanted(self) -> dict[str, int]:
        """What it takes of its tenant's quota; of its host it takes the disk alone."""
        counted = {} if self.state == SnapshotState.GONE else {"snapshots": 1}
        return {**counted, "disk_gib": self.size_gib}


class SnapshotDisk(models.Model):
    """A volume as it was: `layer` is what it wrote to then, and nobody has since."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="disks")
    volume = models.ForeignKey(Volume, on_delete=models.PROTECT, related_name="snapshot_disks")
    layer = models.OneToOneField(Layer, on_delete=models.PROTECT, related_name="snapshot_disk")
    size_gib = models.PositiveIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["snapshot", "volume"], name="a_volume_once_per_snapshot")]
