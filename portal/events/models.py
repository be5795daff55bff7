"""The append-only log of what happened: activity, audit and live updates all read it."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from portal.tenancy.models import Tenant
from portal.tenancy.scoping import TenantQuerySet


class Event(models.Model):
    """One thing that happened, written in the transaction that made it happen. `id` is the order of the log."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(auto_now_add=True)
    kind = models.CharField(max_length=60)
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="+")
    target_type = models.CharField(max_length=20)
    target_id = models.UUIDField()
    target_name = models.CharField(max_length=100)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    actor = models.CharField(max_length=150)
    source = models.CharField(max_length=120)
    request_id = models.CharField(max_length=64, blank=True)
    operation_id = models.UUIDField(null=True)
    data = models.JSONField(default=dict)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="event_by_tenant"),
            models.Index(fields=["target_id", "-id"], name="event_by_target"),
        ]
