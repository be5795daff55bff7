"""What tenants choose from, in Django's admin: to look at."""

from __future__ import annotations

from django.contrib import admin

from portal.web.admin import ReadOnly
from vms.models import Flavor, Image


@admin.register(Image)
class ImageAdmin(ReadOnly):
    list_display = ("slug", "name", "tenant", "os", "is_active")


@admin.register(Flavor)
class FlavorAdmin(ReadOnly):
    list_display = ("slug", "name", "vcpus", "memory_mib", "disk_gib", "is_active")
