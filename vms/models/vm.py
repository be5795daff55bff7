"""Virtual machines as their owners want them, and as their hosts last said they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Q

from hosts.driver.types import Tuning
from hosts.models import Cluster, Host
from hosts.service_class import Promise, ServiceClass, amounts
from portal.billing.metered import Metered, MeteredQuerySet, MeteredTenantQuerySet
from portal.core.ids import uuid7
from portal.tenancy.models import TenantOwned
from vms.lease import OVER, Lease, Stage
from vms.models.catalogue import SERVICE_CLASSES, Flavor, Image, ImageFirmware

if TYPE_CHECKING:
    from vms.models.volume import Volume


class Lifecycle(models.TextChoices):
    """Where a machine stands in its life; what it does is `observed_power`."""

    BUILDING = "building"
    READY = "ready"
    ERROR = "error"
    DELETING = "deleting"


class Power(models.TextChoices):
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class VMQuerySet(MeteredTenantQuerySet["VM"]):  # type: ignore[override]  # of as_manager
    """By both guards."""


class VM(Metered, TenantOwned):
    """A virtual machine. Its id is the libvirt domain's UUID.

    `desired_power` is what the owner last asked for; `observed_power` is what the host last said, since
    `observed_since`; how fresh that is, the host's `seen_at` tells. `current_snapshot` is the last one that it was
    taken as or returned to.
    One that its owner deleted lies in the bin since `binned_at`, off, with all that it has, until `purge_at`; its name
    is free meanwhile, and `desired_power` is what it comes back to.
    One with an `expires_at` is on a lease, which has been in its stage since `lease_since` (vms.lease).
    What it is promised was taken from its flavor when it was placed, and stays: the class, floor and ceiling (percent
    of a CPU for each vCPU), and `tuning`, the hosts.driver.types.Tuning by which its host keeps that. A machine from
    before there were classes has no floor and no tuning.
    """

    name = models.CharField(max_length=63)
    flavor = models.ForeignKey(Flavor, on_delete=models.PROTECT, related_name="+")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="+")
    vcpus = models.PositiveIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()
    firmware = models.CharField(max_length=10, choices=ImageFirmware.choices, default=ImageFirmware.BIOS)
    service_class = models.CharField(max_length=12, choices=SERVICE_CLASSES, default=ServiceClass.BURSTABLE)
    cpu_floor = models.PositiveSmallIntegerField(null=True)
    cpu_ceiling = models.PositiveSmallIntegerField(null=True)
    has_huge_pages = models.BooleanField(default=False)
    tuning = models.JSONField(default=dict)
    is_protected = models.BooleanField(default=False)
    ssh_keys = models.JSONField(default=list)
    user_data = models.TextField(blank=True)
    lifecycle = models.CharField(max_length=10, choices=Lifecycle.choices, default=Lifecycle.BUILDING)
    error = models.CharField(max_length=300, blank=True)
    desired_power = models.CharField(max_length=10, choices=Power.choices, default=Power.RUNNING)
    observed_power = models.CharField(max_length=10, choices=Power.choices, default=Power.STOPPED)
    observed_since = models.DateTimeField(null=True)
    is_missing = models.BooleanField(default=False)
    created_by = models.CharField(max_length=150)
    current_snapshot = models.ForeignKey("vms.Snapshot", null=True, on_delete=models.SET_NULL, related_name="+")
    binned_at = models.DateTimeField(null=True)
    purge_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    lease_stage = models.CharField(
        max_length=10, choices=[(each.value, each.value) for each in Stage], default=Stage.RUNNING
    )
    lease_since = models.DateTimeField(null=True)

    objects = VMQuerySet.as_manager()

    METERED = frozenset(
        {"lifecycle", "binned_at", "observed_power", "is_missing", "vcpus", "memory_mib", "service_class", "tenant"}
    )

    class Meta:
        verbose_name = "virtual machine"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "name"], condition=Q(binned_at=None), name="one_vm_per_tenant_and_name"
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="vm_by_tenant"),
            models.Index(fields=["host"], name="vm_by_host"),
            models.Index(fields=["expires_at"], condition=~Q(expires_at=None), name="vm_by_expiry"),
            models.Index(fields=["purge_at"], condition=~Q(binned_at=None), name="vm_by_purge"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def domain_name(self) -> str:
        """Known on the host by the id, never by words of a tenant's."""
        return f"berth-{self.pk}"

    @property
    def seed_volume(self) -> str:
        return f"{self.pk}-seed.iso"

    @property
    def boot_volume(self) -> Volume:
        return self.volumes.get(is_boot=True)

    @property
    def status(self) -> str:
        """One word of the public contract: building running paused stopped error deleting."""
        if self.lifecycle != Lifecycle.READY:
            return str(self.lifecycle)
        return "error" if self.is_missing else str(self.observed_power)

    @property
    def is_binned(self) -> bool:
        return self.binned_at is not None

    @property
    def lease(self) -> Lease | None:
        if self.expires_at is None:
            return None
        return Lease(self.expires_at, Stage(self.lease_stage), self.lease_since)

    @property
    def is_lease_over(self) -> bool:
        """It is to be off, until it is extended."""
        return self.expires_at is not None and self.lease_stage in OVER

    @property
    def is_settled(self) -> bool:
        """Whether all of it should be on its host: it is built, or lies in the bin whole."""
        return self.lifecycle == Lifecycle.READY or (self.is_binned and self.lifecycle == Lifecycle.DELETING)

    @property
    def wanted_power(self) -> str:
        return str(Power.STOPPED if self.is_binned else self.desired_power)

    @property
    def problem(self) -> str:
        """What is wrong with it, for people; "" where nothing is."""
        if self.host.has_failed:
            return "Its host has failed. It is off until it runs on another one, or its host is back."
        if self.lifecycle == Lifecycle.READY and self.is_missing:
            return "Its host does not know it any more. Ask an administrator, or delete it."
        return self.error if self.lifecycle == Lifecycle.ERROR else ""

    @property
    def wanted(self) -> dict[str, int]:
        """Its size; a tenant's quota counts the machine itself as well."""
        return {"vcpus": self.vcpus, "memory_mib": self.memory_mib, "disk_gib": self.disk_gib}

    @property
    def tuned(self) -> Tuning:
        """How its host keeps what it is promised."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in self.tuning.items()}
        return Tuning(**values)

    @property
    def promise(self) -> Promise:
        return Promise(
            service_class=ServiceClass(self.service_class),
            vcpus=self.vcpus,
            memory_mib=self.memory_mib,
            cpu_floor=self.cpu_floor,
            cpu_ceiling=self.cpu_ceiling,
            has_huge_pages=self.has_huge_pages,
            is_made=True,
        )

    @property
    def wanted_of_host(self) -> dict[str, int]:
        """What it takes of its host: its size, and what is promised."""
        return {**self.wanted, **amounts(self.promise, self.cpu_floor, self.tuned.pins)}


class UnknownNic(models.Model):
    """A MAC, and its address where that is known, that something on a host has and no row does, by the last inventory.

    As after a backup was restored that is older than a machine: neither is given to another one.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="+")
    mac = models.CharField(max_length=17)
    ip = models.GenericIPAddressField(protocol="IPv4", null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "mac"], name="one_unknown_nic_per_host_and_mac")]


class NicQuerySet(MeteredQuerySet["Nic"]):
    """Guarded by the meters of their machines."""


class Nic(Metered):
    """A network interface: its MAC and IPv4 address are chosen when the machine is accepted, and stay.

    They are given once per cluster, so a machine that moves to another host of it keeps them.

    `seen_at` is when a guest with this MAC last took its address by DHCP.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="nics")
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="+")
    mac = models.CharField(max_length=17, unique=True)
    ip = models.GenericIPAddressField(protocol="IPv4")
    seen_at = models.DateTimeField(null=True)

    objects = NicQuerySet.as_manager()

    METERED = frozenset({"vm"})
    METERED_AS = "vm_id"
    METERED_KIND = "vm"

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["cluster", "ip"], name="one_nic_per_cluster_and_address")]
        indexes = [models.Index(fields=["mac"], condition=Q(seen_at=None), name="nic_not_seen_yet")]
