"""Where backups are kept, and which hosts reach it."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.db import models
from django.db.models import Q

from hosts.models.host import Host
from portal.core.models import Row


def new_token() -> str:
    return secrets.token_hex(16)


class BackupTarget(Row):
    """A directory that an administrator has registered: an NFS mount, another disk. `path` is the same on every host.

    `token` is written into a file there, so that hosts that see the same directory can be told from those that have
    another one at that path.
    """

    slug = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=100)
    path = models.CharField(max_length=300, unique=True)
    token = models.CharField(max_length=32, default=new_token, editable=False)
    is_default = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["-is_default", "slug"]
        constraints = [
            models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="one_default_target")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def pool_name(self) -> str:
        """The libvirt pool that each host has for it."""
        return f"{settings.INSTANCE}-backup-{self.slug}"

    @property
    def marker(self) -> str:
        """The file that has the token."""
        return f"berth-target-{self.pk}"


class TargetReach(models.Model):
    """What one host's last check of a target found; sizes in bytes. `problem` says why it does not reach it."""

    target = models.ForeignKey(BackupTarget, on_delete=models.CASCADE, related_name="reaches")
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="targets")
    is_reached = models.BooleanField(default=False)
    problem = models.CharField(max_length=300, blank=True)
    capacity_bytes = models.PositiveBigIntegerField(default=0)
    available_bytes = models.PositiveBigIntegerField(default=0)
    checked_at = models.DateTimeField()

    class Meta:
        ordering = ["host__name"]
        constraints = [models.UniqueConstraint(fields=["target", "host"], name="one_reach_per_target_and_host")]
