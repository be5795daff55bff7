"""What a first run finds. Run again, it changes nothing but the starter image, where that was built anew."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction

from hosts.models import Host
from hosts.services.hosts import add_host
from portal.accounts.models import ProviderRole, User
from portal.env import DATA_DIR
from portal.tenancy.gate import SYSTEM
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Role
from portal.tenancy.services import create_tenant, set_member
from vms import metered
from vms.models import Flavor
from vms.services.catalogue import create_flavor, register_image

FIRST_LOGIN = DATA_DIR / "first-login.json"
FLAVORS = [  # slug, name, vCPUs, MiB, GiB
    ("nano", "Nano", 1, 128, 1),
    ("micro", "Micro", 1, 256, 2),
    ("small", "Small", 1, 1024, 10),
    ("medium", "Medium", 2, 2048, 20),
    ("large", "Large", 4, 4096, 40),
]


class Command(BaseCommand):
    help = "Make the first logins, the demo tenant, sizes, the starter image and the local host, where missing."

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            _people()
        _flavors()
        _image(Path(settings.IMAGE_DIR) / "tiny.qcow2")
        if not Host.objects.exists():
            add_host(actor=SYSTEM, name="local", uri=settings.LIBVIRT_URI)
        metered.follow_all()  # what was there before there were meters


def _people() -> None:
    if User.objects.exists():
        return
    logins = {name: secrets.token_urlsafe(12) for name in ("admin", "demo")}
    User.objects.create_superuser("admin", password=logins["admin"], provider_role=ProviderRole.ADMIN)
    User.objects.create_user("demo", password=logins["demo"])
    if not Tenant.objects.unscoped("seed").filter(slug="demo").exists():
        tenant = create_tenant(actor=SYSTEM, name="Demo", slug="demo")
        set_member(actor=SYSTEM, tenant=tenant, username="demo", role=Role.OWNER)
    _keep(logins)


def _keep(logins: dict[str, str]) -> None:
    """Readable by the owner only, from its first byte on."""
    FIRST_LOGIN.unlink(missing_ok=True)
    descriptor = os.open(FIRST_LOGIN, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(logins, file)


def _flavors() -> None:
    if Flavor.objects.exists():
        return
    for slug, name, vcpus, memory_mib, disk_gib in FLAVORS:
        create_flavor(actor=SYSTEM, slug=slug, name=name, vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib)


def _image(source: Path) -> None:
    if not source.is_file():
        return
    register_image(
        actor=SYSTEM,
        source=source,
        slug="tiny",
        name="tiny",
        description="A few megabytes of Linux with BusyBox and SSH, to try things with. Boots in seconds.",
        os="Linux (BusyBox)",
        default_user="tiny",
        min_memory_mib=96,
        min_disk_gib=1,
    )
