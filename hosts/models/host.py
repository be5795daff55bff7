"""Machines that run guests, and what was last seen of them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils import timezone

from hosts import uris
from hosts.driver.types import Controls
from hosts.models.access import HostAccess
from hosts.models.cluster import Cluster
from portal.core.models import Row

if TYPE_CHECKING:
    from hosts.models.storage import StoragePool

UNREACHABLE_AFTER = timedelta(seconds=30)


class HostState(models.TextChoices):
    """What is wanted of a host. Only an enabled one takes machines; whether it answers is observed.

    A draining one is being emptied, one in maintenance is empty or off on purpose, and of a failed one it is certain
    that nothing runs there.
    """

    ENABLED = "enabled", "Enabled"
    CORDONED = "cordoned", "Cordoned: no new machines"
    DRAINING = "draining", "Draining: its machines move away"
    MAINTENANCE = "maintenance", "In maintenance: it may be off"
    FAILED = "failed", "Failed: it was fenced off"


class Host(Row):
    """A libvirt host. Fields from `hostname` on are observed, never typed in; sizes carry their unit.

    `access` is what it is reached with; None: nothing, or what Berth's user has on the portal's machine.
    `labels` are words that an administrator gives it, for what some machines ask of their host. The over-commit ratios
    are policy: how many vCPUs are given out per logical CPU, and memory per memory.
    `peer_uri` is how the libvirtd of another host reaches this one's, to hand machines over; "" is as Berth does.
    `dedicated_cpus` is too: the last so many CPUs are for dedicated machines alone. `controls` are those of
    hosts.driver.types.Controls, as the preflight's guest found them. `suspected_at` is since when it seems to have
    failed, and `suspicion` by which signs (hosts.failure); `failed_at` is when it was certain that it was off.
    `libvirt_id` is the UUID that libvirt knows it by, "" where it tells none.
    `arrival` is how the last migration to it ended (hosts.arrivals); {} before the first.
    """

    name = models.CharField(max_length=63, unique=True)
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="hosts")
    labels = models.JSONField(default=list)
    uri = models.CharField(max_length=300, unique=True)
    peer_uri = models.CharField(max_length=300, blank=True)
    access = models.OneToOneField(HostAccess, null=True, on_delete=models.SET_NULL, related_name="host")
    state = models.CharField(max_length=12, choices=HostState.choices, default=HostState.ENABLED)
    cpu_ratio = models.DecimalField(max_digits=5, decimal_places=2, default=Decimal("8"))
    memory_ratio = models.DecimalField(max_digits=5, decimal_places=2, default=Decimal("1"))
    memory_reserved_mib = models.PositiveIntegerField(default=1024)
    dedicated_cpus = models.PositiveIntegerField(default=0)
    pool_name = models.CharField(max_length=63)
    pool_path = models.CharField(max_length=300)
    network_name = models.CharField(max_length=63)
    # observed
    libvirt_id = models.CharField(max_length=36, blank=True)
    hostname = models.CharField(max_length=255, blank=True)
    cpu_model = models.CharField(max_length=100, blank=True)
    cpus = models.PositiveIntegerField(default=0)
    memory_mib = models.PositiveIntegerField(default=0)
    libvirt_version = models.CharField(max_length=20, blank=True)
    qemu_version = models.CharField(max_length=20, blank=True)
    accelerator = models.CharField(max_length=10, blank=True)
    firmwares = models.JSONField(default=list)
    controls = models.JSONField(default=dict)
    cpu_models = models.JSONField(default=list)
    huge_pages_mib = models.PositiveIntegerField(default=0)
    verdicts = models.JSONField(default=list)
    pools = models.JSONField(default=list)
    network_cidr = models.CharField(max_length=43, blank=True)
    checked_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=300, blank=True)
    # a backup was restored, and nobody has looked since what machines it has and which addresses are taken
    is_unknown = models.BooleanField(default=False)
    suspected_at = models.DateTimeField(null=True)
    suspicion = models.CharField(max_length=300, blank=True)
    failed_at = models.DateTimeField(null=True)
    arrival = models.JSONField(default=dict)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["libvirt_id"], condition=~Q(libvirt_id=""), name="one_row_per_libvirt_host")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def has_failed(self) -> bool:
        """It was fenced off: nothing runs there, and nothing is asked of it until it was cleared."""
        return self.state == HostState.FAILED

    @property
    def uri_for_peers(self) -> str:
        """For libvirtd of other hosts; "" where they have no way, as to a socket of the portal's own machine."""
        return self.peer_uri or uris.for_peers(self.uri)

    @property
    def is_ready(self) -> bool:
        """A preflight found a way to run guests."""
        return bool(self.accelerator)

    @property
    def takes_machines(self) -> bool:
        """New ones, as far as there is room."""
        return self.state == HostState.ENABLED and self.is_ready and not self.is_unknown

    def has_firmware(self, firmware: str) -> bool:
        """Whether a guest can start with it there; every host has a BIOS."""
        return firmware == "bios" or firmware in self.firmwares

    @property
    def controls_known(self) -> Controls:
        """What it can hold guests to; nothing, as long as no preflight has looked."""
        return Controls(**self.controls)

    @property
    def cpus_of_their_own(self) -> range:
        """The numbers of the CPUs that dedicated machines get."""
        return range(self.cpus - self.dedicated_cpus, self.cpus)

    @property
    def shared_cpus(self) -> tuple[int, ...]:
        """Those that all else runs on; empty where that is any."""
        return tuple(range(self.cpus - self.dedicated_cpus)) if self.dedicated_cpus else ()

    @property
    def is_reachable(self) -> bool:
        """It answered lately; what is shown of it is as old as `seen_at`."""
        return self.seen_at is not None and abs(timezone.now() - self.seen_at) < UNREACHABLE_AFTER

    @property
    def is_off_on_purpose(self) -> bool:
        """Nobody misses it while it does not answer."""
        return self.state == HostState.MAINTENANCE and not self.is_reachable

    @property
    def health(self) -> str:
        """One word for badges: pending, ready, unreachable, unusable."""
        if self.checked_at is None:
            return "pending"
        if not self.is_reachable:
            return "unreachable"
        return "ready" if self.is_ready else "unusable"

    @property
    def default_pool(self) -> StoragePool:
        """Where disks lie that name no other."""
        return self.storage_pools.get(is_default=True)

    @property
    def disk_gib(self) -> int:
        """The capacity of the pools that take disks."""
        used = [pool for pool in self.pools if pool.get("takes_disks", pool["name"] == self.pool_name)]
        return sum(int(pool["capacity_bytes"]) for pool in used) // 1024**3

    @property
    def capacity(self) -> dict[str, int | None]:
        """What may be claimed of it, by the policy in force. Disks are thin: the pool's size counts once."""
        return {
            "vcpus": int((self.cpus - self.dedicated_cpus) * self.cpu_ratio) + self.dedicated_cpus,
            "memory_mib": max(int(self.memory_mib * self.memory_ratio) - self.memory_reserved_mib, 0),
            "disk_gib": self.disk_gib,
        }
