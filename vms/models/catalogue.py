"""What a tenant chooses from: sizes and images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Self
from uuid import UUID

from django.db import models
from django.db.models import Q

from hosts.models import StoragePool
from hosts.service_class import Promise, ServiceClass
from portal.billing.metered import Metered, MeteredTenantQuerySet
from portal.core.models import Row
from portal.core.units import GIB
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission

if TYPE_CHECKING:
    from portal.tenancy.gate import Actor


MIB = 1024**2
SERVICE_CLASSES = [(each.value, each.value) for each in ServiceClass]


class Priority(models.TextChoices):
    """Whose turn it is when machines of a failed host start elsewhere, and there may not be room for all."""

    HIGH = "high", "High: first"
    NORMAL = "normal", "Normal: in turn"
    LOW = "low", "Low: last"


class Flavor(Row):
    """A size, and what is promised of it. Retired ones stay for the machines that have them.

    `host_labels` are asked of the hosts of new ones. `cpu_floor` and `cpu_ceiling` are percent of one CPU for each
    vCPU; None: as hosts.service_class says.
    """

    slug = models.CharField(max_length=63, unique=True)
    name = models.CharField(max_length=100)
    vcpus = models.PositiveIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()
    host_labels = models.JSONField(default=list)
    is_active = models.BooleanField(default=True)
    service_class = models.CharField(max_length=12, choices=SERVICE_CLASSES, default=ServiceClass.BURSTABLE)
    cpu_floor = models.PositiveSmallIntegerField(null=True)
    cpu_ceiling = models.PositiveSmallIntegerField(null=True)
    has_huge_pages = models.BooleanField(default=False)
    recovery_priority = models.CharField(max_length=6, choices=Priority.choices, default=Priority.NORMAL)

    class Meta:
        ordering = ["memory_mib", "vcpus", "disk_gib", "slug"]

    def __str__(self) -> str:
        return self.name

    def promise(self, vcpus: int | None = None, memory_mib: int | None = None) -> Promise:
        """What a machine of this size is promised; of another one that has its class, by the size that one has."""
        return Promise(
            service_class=ServiceClass(self.service_class),
            vcpus=self.vcpus if vcpus is None else vcpus,
            memory_mib=self.memory_mib if memory_mib is None else memory_mib,
            cpu_floor=self.cpu_floor,
            cpu_ceiling=self.cpu_ceiling,
            has_huge_pages=self.has_huge_pages,
        )


class ImageState(models.TextChoices):
    """A pending one has an id and a place in the quota, and no file yet; one whose import fails leaves no row."""

    PENDING = "pending"
    READY = "ready"
    DELETING = "deleting"


class Visibility(models.TextChoices):
    """Who sees an image beside its owner: nobody, the tenants it is shared with, or everybody."""

    PRIVATE = "private"
    SHARED = "shared"
    PUBLIC = "public"


class ImageFirmware(models.TextChoices):
    """What machines made of it start with; the words are those of hosts.driver.types.Firmware."""

    BIOS = "bios", "BIOS"
    UEFI = "uefi", "UEFI"


class ImageFormat(models.TextChoices):
    """What a file that somebody brings may be; in the store all are qcow2."""

    QCOW2 = "qcow2", "QCOW2"
    RAW = "raw", "Raw"
    VMDK = "vmdk", "VMDK"
    VDI = "vdi", "VDI"
    VHD = "vhd", "VHD"
    VHDX = "vhdx", "VHDX"
    ISO = "iso", "ISO"


def image_amounts(size_bytes: int) -> dict[str, int]:
    """Of the quota: whole MiB, rounded up."""
    return {"image_mib": -(-size_bytes // MIB)}


class ImageQuerySet(MeteredTenantQuerySet["Image"]):  # type: ignore[override]  # of as_manager
    def visible_to(self, actor: Actor) -> Q:
        return super().visible_to(actor) | _offered_to(actor.tenants_with(Permission.IMAGE_READ))

    def available_to(self, tenant: Tenant) -> Self:
        """The tenant's own, those shared with it, and public ones."""
        return self.filter(Q(tenant=tenant) | _offered_to([tenant.pk]))


def _offered_to(tenant_ids: Iterable[UUID]) -> Q:
    shared = ImageShare.objects.filter(tenant_id__in=list(tenant_ids)).values("image_id")
    return Q(visibility=Visibility.PUBLIC) | Q(visibility=Visibility.SHARED, pk__in=shared)


class Image(Metered, Row):
    """A clean qcow2 in the image store, named by its checksum. `tenant` None is the provider's.

    One that is not active is deprecated: nothing new is made of it, and `deprecation` says what to take instead.
    `size_bytes` is what it holds of its tenant's quota: while it is pending what the file may become, then what it is.
    """

    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="+")
    slug = models.CharField(max_length=63)
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=300, blank=True)
    os = models.CharField(max_length=60, blank=True)
    default_user = models.CharField(max_length=32, blank=True)
    visibility = models.CharField(max_length=10, choices=Visibility.choices, default=Visibility.PRIVATE)
    firmware = models.CharField(max_length=10, choices=ImageFirmware.choices, default=ImageFirmware.BIOS)
    has_cloud_init = models.BooleanField(default=True)
    min_disk_gib = models.PositiveIntegerField(default=1)
    min_memory_mib = models.PositiveIntegerField(default=64)
    size_bytes = models.PositiveBigIntegerField()
    virtual_size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    is_active = models.BooleanField(default=True)
    deprecation = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, choices=ImageState.choices, default=ImageState.READY)
    source_format = models.CharField(max_length=10, choices=ImageFormat.choices, default=ImageFormat.QCOW2)
    created_by = models.CharField(max_length=150, blank=True)

    objects = ImageQuerySet.as_manager()
    read_permission: ClassVar[Permission] = Permission.IMAGE_READ

    METERED = frozenset({"state", "size_bytes", "tenant"})

    class Meta:
        ordering = ["name", "slug"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "slug"], name="one_image_per_tenant_and_slug"),
            models.UniqueConstraint(fields=["slug"], condition=Q(tenant=None), name="one_public_image_per_slug"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def wanted(self) -> dict[str, int]:
        """What it holds of its tenant's quota; a public one is nobody's."""
        return image_amounts(self.size_bytes) if self.tenant_id else {}

    @property
    def file_name(self) -> str:
        return image_file(self.sha256)

    @property
    def is_iso(self) -> bool:
        """Machines boot it from a CD, and have an empty disk."""
        return self.source_format == ImageFormat.ISO

    @property
    def is_offered(self) -> bool:
        """Whether machines can be made of it."""
        return self.is_active and self.state == ImageState.READY

    def ssh(self, address: str) -> str:
        """The command that logs in to a machine made of it."""
        return f"ssh {self.default_user}@{address}" if self.default_user else f"ssh {address}"

    @property
    def least_disk_gib(self) -> int:
        """What a machine's disk must have: what was asked for, and at least the disk in it."""
        own = 0 if self.is_iso else -(-self.virtual_size_bytes // GIB)
        return max(self.min_disk_gib, own)


def image_file(sha256: str) -> str:
    """In the image store, and as a volume in every pool: the same bytes have the same name."""
    return f"image-{sha256[:32]}.qcow2"


class ImageShare(Row):
    """A tenant that an image is shared with."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="shares")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")

    class Meta:
        ordering = ["tenant__slug"]
        constraints = [models.UniqueConstraint(fields=["image", "tenant"], name="one_share_per_image_and_tenant")]


class ImageCopy(Row):
    """The file of an image in a pool of a host, brought there on first use. It may outlive the image for a while.

    `verified_at` is when its checksum was found right after it arrived; `evicting_at` when its removal began: from then
    on nobody may stand on it.
    """

    pool = models.ForeignKey(StoragePool, on_delete=models.CASCADE, related_name="+")
    sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    used_at = models.DateTimeField()
    verified_at = models.DateTimeField(null=True)
    evicting_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pool__host__name", "pool__name", "id"]
        constraints = [models.UniqueConstraint(fields=["pool", "sha256"], name="one_copy_per_pool")]
        indexes = [
            models.Index(fields=["used_at"], name="copy_by_use"),
            models.Index(fields=["sha256"], name="copy_by_file"),
        ]

    def __str__(self) -> str:
        return self.file_name

    @property
    def file_name(self) -> str:
        return image_file(self.sha256)
