"""People, the keys they log in to guests with, and the tokens their programs use."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone

from portal.core.ids import uuid7
from portal.core.models import Row


class ProviderRole(models.TextChoices):
    """What somebody may do beyond the tenants they belong to."""

    NONE = "", "None"
    AUDITOR = "auditor", "Auditor"
    ADMIN = "admin", "Administrator"


class User(AbstractUser):
    """Somebody who signs in. `provider_role` reaches across tenants; memberships reach into one."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    provider_role = models.CharField(max_length=10, choices=ProviderRole.choices, default=ProviderRole.NONE, blank=True)


class SshKey(Row):
    """A public key of one's own; remembered, and offered at each create."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="ssh_keys")
    name = models.CharField(max_length=100)
    public_key = models.TextField()
    fingerprint = models.CharField(max_length=100)

    class Meta:
        ordering = ["created_at"]
        constraints = [models.UniqueConstraint(fields=["user", "fingerprint"], name="ssh_key_once_per_user")]


class ApiToken(Row):
    """A program's credential: only the SHA-256 of its secret is kept; its rights are never more than its user's now.

    `tenant_id` narrows it to one tenant and takes away provider rights; `scopes` are permissions, or ["*"]. With
    `ip_ranges` it is known only to whoever calls from one of these networks.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    tenant_id = models.UUIDField(null=True)
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, unique=True)
    digest = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    last_used_from = models.GenericIPAddressField(null=True)
    ip_ranges = models.JSONField(default=list)

    class Meta:
        ordering = ["-created_at", "-id"]

    @property
    def is_over(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()
