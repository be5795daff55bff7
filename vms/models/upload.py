"""A file on its way into the image store, piece by piece."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from portal.tenancy.models import TenantOwned
from portal.tenancy.roles import Permission
from portal.tenancy.scoping import TenantQuerySet
from vms.models.catalogue import Image, ImageFormat, image_amounts


class ImageUpload(TenantOwned):
    """Somebody sends a file. Its id becomes the image's own, so the claim on the quota is the same from the beginning.

    How much has come is the size of the file in the image store's intake; `size_bytes` is how large it is to become.
    `image` is set when the upload has ended; the row then stays for a while, to say so to whoever asks again.
    """

    name = models.CharField(max_length=100)
    slug = models.CharField(max_length=63)
    format = models.CharField(max_length=10, choices=ImageFormat.choices)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64, blank=True)
    properties = models.JSONField(default=dict)
    created_by = models.CharField(max_length=150)
    expires_at = models.DateTimeField()
    image = models.ForeignKey(Image, null=True, on_delete=models.SET_NULL, related_name="+")
    finished_at = models.DateTimeField(null=True)

    objects = TenantQuerySet.as_manager()
    read_permission: ClassVar[Permission] = Permission.IMAGE_READ

    class Meta:
        verbose_name = "upload"
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["expires_at"], name="upload_by_expiry")]

    def __str__(self) -> str:
        return self.name

    @property
    def wanted(self) -> dict[str, int]:
        """What it holds of the tenant's quota; from its end on, the image holds it."""
        return image_amounts(self.size_bytes)
