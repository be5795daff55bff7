"""What a tenant chooses from: sizes and images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from portal.core.models import Row
from portal.tenancy.models import Tenant
from portal.tenancy.scoping import TenantQuerySet

if TYPE_CHECKING:
    from portal.tenancy.gate import Actor


class Flavor(Row):
    """A size. Retired ones stay for the machines that have them."""

    slug = models.CharField(max_length=63, unique=True)
    name = models.CharField(max_length=100)
    vcpus = models.PositiveIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["memory_mib", "vcpus", "disk_gib", "slug"]

    def __str__(self) -> str:
        return self.name


class ImageState(models.TextChoices):
    """A pending one has an id and a place in the quota, and no file yet; one whose import fails leaves no row."""

    PENDING = "pending"
    READY = "ready"


class ImageFormat(models.TextChoices):
    """What a file that somebody brings may be; in the store all are qcow2."""

    QCOW2 = "qcow2", "QCOW2"
    RAW = "raw", "Raw"
    VMDK = "vmdk", "VMDK"
    VDI = "vdi", "VDI"
    VHD = "vhd", "VHD"
    VHDX = "vhdx", "VHDX"
    ISO = "iso", "ISO"


class ImageQuerySet(TenantQuerySet["Image"]):
    def visible_to(self, actor: Actor) -> Q:
        return Q(tenant=None) | super().visible_to(actor)


class Image(Row):
    """A clean qcow2 in the image store, named by its checksum. `tenant` None is public.

    `size_bytes` is what it holds of its tenant's quota: while it is pending what the file may become, then what it is.
    """

    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="+")
    slug = models.CharField(max_length=63)
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=300, blank=True)
    os = models.CharField(max_length=60)
    default_user = models.CharField(max_length=32)
    has_cloud_init = models.BooleanField(default=True)
    min_disk_gib = models.PositiveIntegerField(default=1)
    min_memory_mib = models.PositiveIntegerField(default=64)
    size_bytes = models.PositiveBigIntegerField()
    virtual_size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    is_active = models.BooleanField(default=True)
    state = models.CharField(max_length=10, choices=ImageState.choices, default=ImageState.READY)
    source_format = models.CharField(max_length=10, choices=ImageFormat.choices, default=ImageFormat.QCOW2)
    created_by = models.CharField(max_length=150, blank=True)

    objects = ImageQuerySet.as_manager()

    class Meta:
        ordering = ["name", "slug"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "slug"], name="one_image_per_tenant_and_slug"),
            models.UniqueConstraint(fields=["slug"], condition=Q(tenant=None), name="one_public_image_per_slug"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def file_name(self) -> str:
        """In the image store, and as a volume in every pool: the same bytes have the same name."""
        return f"image-{self.sha256[:32]}.qcow2"
