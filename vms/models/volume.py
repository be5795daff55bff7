"""Disks: what tenants call a volume, and the chain of files that it is on a host."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from hosts.models import StoragePool
from portal.billing.metered import Metered, MeteredTenantQuerySet
from portal.core.models import Row
from portal.core.units import GIB
from portal.tenancy.models import TenantOwned
from vms.models.catalogue import Image
from vms.models.vm import VM


class Layer(Row):
    """One qcow2 file of a pool, named by its id. It stands on its parent, on an image, or on nothing.

    Only a volume's own layer is written to; one that others stand on stays as it is until nobody needs it.
    """

    pool = models.ForeignKey(StoragePool, on_delete=models.PROTECT, related_name="layers")
    parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="children")
    image = models.ForeignKey(Image, null=True, on_delete=models.PROTECT, related_name="layers")
    size_gib = models.PositiveIntegerField()

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(parent=None) | Q(image=None), name="a_layer_stands_on_one_thing")
        ]

    @property
    def file_name(self) -> str:
        return f"{self.pk}.qcow2"

    @property
    def size_bytes(self) -> int:
        return self.size_gib * GIB


class VolumeQuerySet(MeteredTenantQuerySet["Volume"]):  # type: ignore[override]  # of as_manager
    """By both guards."""


class Volume(Metered, TenantOwned):
    """A disk of a tenant's, attached to one machine at most, where the guest knows it by its serial number.

    The boot volume lives and dies with its machine, whose claims pay for it. One by itself is not ready while it is
    made, and from when it is to be deleted; it costs nothing then.
    """

    name = models.CharField(max_length=63)
    size_gib = models.PositiveIntegerField()
    layer = models.OneToOneField(Layer, on_delete=models.PROTECT, related_name="volume")
    vm = models.ForeignKey(VM, null=True, on_delete=models.PROTECT, related_name="volumes")
    target = models.CharField(max_length=8, blank=True)
    is_boot = models.BooleanField(default=False)
    is_ready = models.BooleanField(default=True)

    objects = VolumeQuerySet.as_manager()

    METERED = frozenset({"size_gib", "layer", "vm", "is_ready", "tenant"})

    class Meta:
        ordering = ["target", "-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["vm", "target"], condition=~Q(vm=None), name="one_volume_per_vm_and_target"
            ),
            models.UniqueConstraint(fields=["vm"], condition=Q(is_boot=True), name="one_boot_volume_per_vm"),
            models.CheckConstraint(condition=~Q(is_boot=True) | ~Q(vm=None), name="a_boot_volume_has_a_vm"),
        ]
        indexes = [models.Index(fields=["tenant", "-created_at", "-id"], name="volume_by_tenant")]

    def __str__(self) -> str:
        return self.name

    @property
    def serial(self) -> str:
        """By which a guest finds it under /dev/disk/by-id; virtio has room for 20 characters."""
        return self.pk.hex[-20:]

    @property
    def wanted(self) -> dict[str, int]:
        """What it takes by itself, of its tenant's quota and of its host."""
        return {} if self.is_boot else {"disk_gib": self.size_gib}
